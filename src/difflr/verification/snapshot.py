"""`Snapshot`: restores a model, its training state and the random states bit for bit."""

import random
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.plan import freezing

Values = list[tuple[keras.Variable, np.ndarray]]


class Snapshot:
    """Saves everything that training changes when the block begins, and restores it when the block ends or raises.

    This includes the model's weights, moving statistics, seeds and metrics; its optimizer and loss scale; its `compile`
    settings; all `trainable` flags; torch's gradients; and the random states of Python, NumPy, Keras and torch.

    Args:
        model: A built Keras model, compiled or not.

    Example:

    ```python
    from difflr.verification.snapshot import Snapshot

    with Snapshot(model):
        model.compile("sgd", "mse")
        model.fit(x, np.eye(3)[y], verbose=0)
    ```
    """

    def __init__(self, model: keras.Model):
        self._model = model

    def __enter__(self) -> "Snapshot":
        model = self._model
        optimizer = getattr(model, "optimizer", None)
        self._attributes = dict(vars(model))
        self._layers = keras_private.layer_flags(model)
        marked = [*(layer for layer, _ in self._layers), *model.variables]
        self._marks = [(thing, freezing.was_marked(thing)) for thing in marked]
        self._variables = [(variable, variable.trainable) for variable in model.variables]
        self._own = values_of(model.variables)
        self._beside = values_of([*([] if optimizer is None else optimizer.variables), *model.metrics_variables])
        tensors = keras_private.values(model.variables) if keras.backend.backend() == "torch" else []
        self._gradients = [(tensor, tensor.grad) for tensor in tensors]
        self._modes = [(layer, vars(layer)["training"]) for layer, _ in self._layers if "training" in vars(layer)]
        self._random = _random_states()
        keras_private.forget_metrics(model)  # so that they are not built for the trials
        return self

    def __exit__(self, *error: object) -> None:
        keras_private.sync_state(self._model)  # JAX's `fit` was interrupted between two batches
        self.put_back_flags()
        for restore, state in self._random:
            restore(state)
        assign(self._own)
        assign(self._beside)
        for layer, mode in self._modes:  # torch's flag, which Keras's `evaluate` changes
            vars(layer)["training"] = mode
        for tensor, gradient in self._gradients:
            tensor.grad = gradient
        attributes = vars(self._model)  # not through `__setattr__`, which would track layers in them
        attributes.clear()
        attributes.update(self._attributes)

    def rewind(self) -> None:
        """Restores the start of a trial: weights, moving statistics and seeds."""
        assign(self._own)

    def seed(self, number: int) -> None:
        """Restores the seeds of layers, and seeds all other random generators.

        Args:
            number: Integer, the seed.
        """
        assign([(variable, value) for variable, value in self._own if variable.path.endswith("seed_generator_state")])
        random.seed(number)
        np.random.seed(number)
        keras_private.set_global_seed(None)  # Keras draws the next one from Python's generator
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(number)

    def put_back_flags(self) -> None:
        """Restores the `trainable` flags."""
        keras_private.set_layer_flags(self._layers)
        for variable, flag in self._variables:
            variable.trainable = flag
        for thing, marked in self._marks:
            if freezing.was_marked(thing) != marked:
                freezing.set_mark(thing, marked)


def values_of(variables: Sequence[keras.Variable]) -> Values:
    """Variables and copies of their values."""
    return [(variable, np.array(keras.ops.convert_to_numpy(variable))) for variable in variables]


def assign(values: Values) -> None:
    """Gives variables the values that `values_of` copied."""
    for variable, value in values:
        variable.assign(value)


def _random_states() -> list[tuple[Callable[[Any], object], Any]]:
    """How to restore each random generator, and its state."""
    states: list[tuple[Callable[[Any], object], Any]] = [
        (random.setstate, random.getstate()),
        (np.random.set_state, np.random.get_state()),
        (keras_private.set_global_seed, keras_private.global_seed()),
    ]
    if torch := sys.modules.get("torch"):
        states.append((torch.set_rng_state, torch.get_rng_state()))
        if torch.cuda.is_available():
            states.append((torch.cuda.set_rng_state_all, torch.cuda.get_rng_state_all()))
    return states
