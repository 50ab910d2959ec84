"""TensorFlow Addons' `MultiOptimizer`: a list of optimizers and their layers."""

from collections.abc import Iterable
from typing import Any

import keras

from difflr.checks import wrong_type
from difflr.interop.same_class import SameClass, one_optimizer
from difflr.interop.translation import Decision, Translation, translate
from difflr.plan import Row


def from_tfa(optimizers_and_layers: Iterable[tuple[Any, Any]], model: keras.Layer) -> Translation:
    """Convert `tfa.optimizers.MultiOptimizer(optimizers_and_layers)` to a plan and one optimizer.

    A layer includes all layers inside it. The plan freezes layers in no pair, which TensorFlow Addons never trains.

    Args:
        optimizers_and_layers: Pairs of a Keras optimizer and a layer, a model, or a list of these.
        model: The built Keras model.

    Returns:
        A `difflr.interop.Translation`, with an optimizer: one for all variables.

    Raises:
        ValueError: If the optimizers differ in more than `learning_rate` and `weight_decay`; or a variable is in two
            pairs, so that TensorFlow Addons would update it twice.
        TypeError: If a pair is anything else.

    Example:

    ```python
    slow, fast = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-2)
    translation = difflr.interop.from_tfa([(slow, model.layers[1]), (fast, model.layers[2:])], model)
    model.compile(translation.optimizer, loss="sparse_categorical_crossentropy")
    ```

    Reference: `create_optimizer_spec` and `apply_gradients` in
    `tensorflow_addons/optimizers/discriminative_layer_training.py`.
    """
    pairs = [_checked_pair(pair) for pair in optimizers_and_layers]
    merged = SameClass(optimizer for optimizer, _ in pairs)
    owners: dict[int, list[int]] = {}
    for number, (_, layers) in enumerate(pairs):
        for variable in {id(variable) for layer in layers for variable in layer.variables}:
            owners.setdefault(variable, []).append(number)
    names = [f"pair {number}: {optimizer.name}" for number, (optimizer, _) in enumerate(pairs, start=1)]

    def decide(row: Row) -> Decision:
        numbers = owners.get(id(row.variable), [])
        if len(numbers) > 1:
            raise ValueError(
                f"{row.path} is listed by {' and '.join(names[number] for number in numbers)}. TensorFlow Addons would "
                "update it once per pair. Keep it in one pair only."
            )
        if not numbers:
            return {"frozen": True}, ["in no pair: not trained"]
        return merged.axes(pairs[numbers[0]][0], row.variable), [names[numbers[0]]]

    return merged.complete(translate("TensorFlow Addons", model, decide, names))


def _checked_pair(pair: Any) -> tuple[Any, list[keras.Layer]]:
    """A pair, with a list of layers."""
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise wrong_type("Each entry", "a pair (optimizer, layers)", pair)
    layers = list(pair[1]) if isinstance(pair[1], (list, tuple)) else [pair[1]]
    for layer in layers:
        if not isinstance(layer, keras.Layer):
            raise wrong_type(f"The partner of '{one_optimizer(pair[0]).name}'", "a layer or a list of layers", layer)
    return one_optimizer(pair[0]), layers
