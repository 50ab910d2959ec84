"""keras-adamw: dictionaries from parts of weights' names to multipliers and to weight decays."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import keras

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
    """The plan and the optimizer of `keras_adamw.AdamW(...)`.

    A key of `lr_multipliers` matches a weight whose name contains it, and the first one wins; a key of `weight_decays` is
    the whole name, `dense/kernel:0`. The decay is `l2 * sqrt(1 / total_iterations)` of the weight at each step, whatever
    the rates are.

    Args:
        model: A built Keras model.
        learning_rate: Float > 0.
        lr_multipliers: Part of a name -> number.
        weight_decays: Name -> `(l1, l2)`, or the number `l2`.
        total_iterations: Integer, the optimizer's argument of that name. Below 2 nothing decays.

    Returns:
        A `difflr.interop.Translation`, with an optimizer.

    Raises:
        ValueError: If an `l1` is not 0, which Keras's optimizers do not have; or no key matches.

    Example:

    ```python
    translation = difflr.interop.from_keras_adamw(
        model, lr_multipliers={"stem": 0.1}, weight_decays={"head/kernel:0": (0, 1e-4)}, total_iterations=2000
    )
    model.compile(translation.optimizer, loss="sparse_categorical_crossentropy")
    ```

    Reference: `_apply_lr_multiplier` and `_apply_weight_decays` in `keras_adamw/utils.py` of
    OverLordGoldDragon/keras-adamw; its version for `tf.keras` (in the other the multipliers of all weights before are in
    the rate of the next).
    """
    multipliers = dict(lr_multipliers or {})
    decays = {
        name: value if isinstance(value, (int, float)) else value[1] for name, value in (weight_decays or {}).items()
    }
    with_l1 = [
        name for name, value in (weight_decays or {}).items() if not isinstance(value, (int, float)) and value[0]
    ]
    if with_l1:
        raise ValueError(f"Keras's optimizers have no L1 decay: `weight_decays` has it for {', '.join(with_l1)}.")
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
