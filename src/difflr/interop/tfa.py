"""TensorFlow Addons' `MultiOptimizer`: a list of optimizers and their layers."""

from collections.abc import Iterable
from typing import Any

import keras

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

    Example:

    ```python
    slow, fast = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-2)
    translation = difflr.interop.from_tfa([(slow, model.layers[1]), (fast, model.layers[2:])], model)
    model.compile(translation.optimizer, loss="sparse_categorical_crossentropy")
    ```

    Reference: `create_optimizer_spec` and `apply_gradients` in
    `tensorflow_addons/optimizers/discriminative_layer_training.py`.
    """
    pairs = [(one_optimizer(optimizer), layers) for optimizer, layers in optimizers_and_layers]
    merged = SameClass(optimizer for optimizer, _ in pairs)
    owners: dict[int, list[int]] = {}
    for number, (_, layers) in enumerate(pairs):
        listed = layers if isinstance(layers, (list, tuple)) else [layers]
        for variable in {id(variable) for layer in listed for variable in layer.variables}:
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
        return merged.axes(pairs[numbers[0]][0]), [names[numbers[0]]]

    return merged.complete(translate("TensorFlow Addons", model, decide, names))
