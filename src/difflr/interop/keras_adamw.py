"""keras-adamw: dictionaries from parts of weight names to multipliers and weight decays."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

from difflr.checks import checked_number, checked_rate, wrong_type
from difflr.interop.lr_multiplier import keras2_names
from difflr.interop.translation import Decision, Translation, translate
from difflr.optimizers import differential
from difflr.plan import Row


def from_keras_adamw(
    model: keras.Layer,
    *,
    learning_rate: float = 0.001,
    lr_multipliers: Mapping[str, float] | None = None,
    weight_decays: Mapping[str, Any] | None = None,
    total_iterations: int = 0,
) -> Translation:
    """Convert the arguments of `keras_adamw.AdamW(...)` to a plan and an optimizer.

    A key of `lr_multipliers` matches weights whose name contains it, and the first match wins. A key of `weight_decays`
    is the full name, `dense/kernel:0`. Each step decays the weight by `l2 * sqrt(1 / total_iterations)`, independently of
    the learning rate.

    Args:
        model: A built Keras model.
        learning_rate: Float > 0.
        lr_multipliers: Part of a name -> number.
        weight_decays: Name -> `(l1, l2)`, or the number `l2`.
        total_iterations: Integer, the argument of that optimizer. Below 2 there is no decay.

    Returns:
        A `difflr.interop.Translation`, with an optimizer.

    Raises:
        ValueError: If an `l1` is not 0, which Keras's optimizers do not support, or no key matches.

    Example:

    ```python
    translation = difflr.interop.from_keras_adamw(
        model, lr_multipliers={"stem": 0.1}, weight_decays={"head/kernel:0": (0, 1e-4)}, total_iterations=2000
    )
    model.compile(translation.optimizer, loss="sparse_categorical_crossentropy")
    ```

    Reference: `_apply_lr_multiplier` and `_apply_weight_decays` in `keras_adamw/utils.py` of
    OverLordGoldDragon/keras-adamw; its version for `tf.keras` (in the other version, multipliers
    accumulate from one weight to the next).
    """
    checked_rate(learning_rate, "learning_rate")
    multipliers = lr_multipliers or {}
    for what, values in (("lr_multipliers", multipliers), ("weight_decays", weight_decays or {})):
        if not isinstance(values, Mapping):
            raise wrong_type(f"`{what}`", "a mapping from name to number", values)
    pairs = {name: _checked_pair(name, value) for name, value in (weight_decays or {}).items()}
    decays = {name: l2 for name, (_, l2) in pairs.items()}
    with_l1 = [name for name, (l1, _) in pairs.items() if l1]
    if with_l1:
        raise ValueError(f"Keras's optimizers have no L1 decay. `weight_decays` sets it for {', '.join(with_l1)}.")
    highest = max(decays.values(), default=0.0) if total_iterations > 1 else 0.0

    def decide(row: Row) -> Decision | None:
        names = keras2_names(row)
        key = next((key for key in multipliers if any(key in name for name in names)), None)
        decaying = next((name for name in names if name in decays), None)
        axes = {} if key is None else {"multiplier": multipliers[key]}
        if highest:
            axes["weight_decay_multiplier"] = decays[decaying] / highest if decaying else 0.0
        return axes, [f"{what} {name}" for what, name in (("lr", key), ("decay", decaying)) if name is not None]

    settings = [*(f"lr {key}" for key in multipliers), *(f"decay {name}" for name in decays)]
    translation = translate("keras-adamw", model, decide, settings)
    weight_decay = highest * math.sqrt(1 / total_iterations) / learning_rate if highest else 0.0
    optimizer = differential(keras.optimizers.AdamW)(
        learning_rate,
        weight_decay=weight_decay,
        epsilon=keras.config.epsilon(),
        multipliers=translation.plan,
        weight_decay_follows="base_rate",
    )
    return dataclasses.replace(translation, learning_rate=learning_rate, optimizer=optimizer)


def _checked_pair(name: str, value: Any) -> tuple[float, float]:
    """`(l1, l2)` of a weight."""
    l1, l2 = value if isinstance(value, (list, tuple)) and len(value) == 2 else (0.0, value)
    return tuple(checked_number(number, f"weight_decays['{name}']") for number in (l1, l2))  # type: ignore[return-value]
