"""keras-lr-multiplier: a dictionary from name prefix to multiplier."""

from collections.abc import Mapping
from typing import Any

import keras

from difflr.checks import wrong_type
from difflr.interop.translation import Decision, Translation, translate
from difflr.plan import Row


def from_lr_multiplier(multipliers: Mapping[str, Any], model: keras.Layer) -> Translation:
    """Convert the multipliers of `keras_lr_multiplier.LRMultiplier(optimizer, multipliers)` to a plan.

    A key matches weights whose name starts with it, and the longest key wins. Names are those of Keras 2,
    `dense_1/kernel:0`, or layer-tree paths.

    Args:
        multipliers: Name prefix -> number, or a `keras.optimizers.schedules.LearningRateSchedule` instead of a function
            of the step.
        model: A built Keras model.

    Returns:
        A `difflr.interop.Translation`.

    Raises:
        ValueError: If a value is a plain function, which cannot be saved, or no key matches.

    Example:

    ```python
    translation = difflr.interop.from_lr_multiplier({"stem": 0.5, "head": 2.0}, model)
    optimizer = difflr.optimizers.Adam(1e-3, multipliers=translation.plan)
    ```

    Reference: `_get_multiplier` in `keras_lr_multiplier/multiplier.py` of CyberZHG/keras-lr-multiplier.
    """
    if not isinstance(multipliers, Mapping) or not all(isinstance(key, str) for key in multipliers):
        raise wrong_type("`multipliers`", "a mapping from name prefix to number", multipliers)
    schedules = keras.optimizers.schedules.LearningRateSchedule
    for key, value in multipliers.items():
        if callable(value) and not isinstance(value, schedules):
            raise ValueError(
                f"The multiplier of '{key}' is a function of the step, which cannot be saved. Write it as a "
                "keras.optimizers.schedules.LearningRateSchedule."
            )

    def decide(row: Row) -> Decision | None:
        names = keras2_names(row)
        matching = [key for key in multipliers if key and any(name.startswith(key) for name in names)]
        if not matching:
            return None
        key = max(matching, key=len)
        axis = "schedule" if isinstance(multipliers[key], schedules) else "multiplier"
        return {axis: multipliers[key]}, [key]

    return translate("keras-lr-multiplier", model, decide, multipliers)


def keras2_names(row: Row) -> tuple[str, ...]:
    """The names of a variable in Keras 2, where a nested layer's name has no prefix."""
    parts = row.path.split("/")
    return (f"{'/'.join(parts[-2:])}:0", f"{row.path}:0")
