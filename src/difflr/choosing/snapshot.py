"""`Snapshot`: restores a model, its training state and the random states bit for bit."""

import random
import sys
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.plan import freezing


class Snapshot:
    """Saves everything that training changes when the block begins, and restores it when the block ends or raises.

    This includes the model's weights, moving statistics, seeds and metrics; its optimizer and loss scale; its `compile`
    settings; all `trainable` flags; torch's gradients; and the random states of Python, NumPy, Keras and torch.

    Args:
        model: A built Keras model, compiled or not.

    Example:

    ```python
    from difflr.choosing.snapshot import Snapshot

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
        self._own = _values(model.variables)
        self._beside = _values([*([] if optimizer is None else optimizer.variables), *model.metrics_variables])
        self._gradients = _gradients(model)
        self._modes = [(layer, vars(layer)["training"]) for layer, _ in self._layers if "training" in vars(layer)]
        self._random = _random_states()
        keras_private.forget_metrics(model)  # so that they are not built for the trials
        return self

    def __exit__(self, *error: object) -> None:
        keras_private.sync_state(self._model)  # JAX's `fit` was interrupted between two batches
        self.put_back_flags()
        _set_random_states(self._random)
        _assign(self._own)
        _assign(self._beside)
        for layer, mode in self._modes:  # torch's flag, which Keras's `evaluate` changes
            vars(layer)["training"] = mode
        for variable, gradient in self._gradients:
            keras_private.values([variable])[0].grad = gradient
        attributes = vars(self._model)  # not through `__setattr__`, which would track layers in them
        for name in [name for name in attributes if name not in self._attributes]:
            del attributes[name]
        attributes.update(self._attributes)

    def rewind(self) -> None:
        """Restores the start of a trial: weights, moving statistics and seeds."""
        _assign(self._own)

    def seed(self, number: int) -> None:
        """Restores the seeds of layers, and seeds all other random generators.

        Args:
            number: Integer, the seed.
        """
        _assign([(variable, value) for variable, value in self._own if variable.path.endswith("seed_generator_state")])
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


def _values(variables: list[keras.Variable]) -> list[tuple[keras.Variable, np.ndarray]]:
    return [(variable, np.array(keras.ops.convert_to_numpy(variable))) for variable in variables]


def _assign(values: list[tuple[keras.Variable, np.ndarray]]) -> None:
    for variable, value in values:
        variable.assign(value)


def _gradients(model: keras.Model) -> list[tuple[keras.Variable, Any]]:
    """The gradients that torch stores with the weights."""
    if keras.backend.backend() != "torch":
        return []
    variables = model.variables
    return [(v, value.grad) for v, value in zip(variables, keras_private.values(variables), strict=True)]


def _random_states() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    states: dict[str, Any] = {"python": random.getstate(), "numpy": np.random.get_state()}
    states["keras"] = keras_private.global_seed()
    if torch is not None:
        states["torch"] = torch.get_rng_state()
        states["cuda"] = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return states


def _set_random_states(states: dict[str, Any]) -> None:
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    keras_private.set_global_seed(states["keras"])
    if "torch" in states:
        torch = sys.modules["torch"]
        torch.set_rng_state(states["torch"])
        torch.cuda.set_rng_state_all(states["cuda"])
