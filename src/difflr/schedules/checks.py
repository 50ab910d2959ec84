"""What the arguments of schedules must be."""

import math
from typing import Any

import keras

from difflr.plan.plain_data import shown
from difflr.plan.rule import checked_multiplier


def checked_rate(value: Any, name: str = "peak_learning_rate") -> float:
    """`value` as a float, if it can be a learning rate or a factor: a finite number above 0.

    Raises:
        ValueError: If it is not.
    """
    number = checked_multiplier(value, name, zero_freezes=False)
    if number == 0:
        raise ValueError(f"`{name}` must be above 0: with 0 nothing would ever be trained. Received: {shown(value)}.")
    return number


def checked_number(value: Any, name: str, lowest: float = 0.0, highest: float = math.inf) -> float:
    """`value` as a float, if it is a finite number from `lowest` to `highest`.

    Raises:
        ValueError: If it is not.
    """
    number = checked_multiplier(value, name, zero_freezes=False)
    if not lowest <= number <= highest:
        span = f"from {lowest:g} to {highest:g}" if highest < math.inf else f">= {lowest:g}"
        raise ValueError(f"`{name}` must be a number {span}. Received: {shown(value)}.")
    return number


def checked_steps(value: Any, name: str = "num_steps", lowest: int = 1) -> int:
    """`value` as an integer, if it can be a number of steps.

    Raises:
        ValueError: If it is no integer, or below `lowest`.
    """
    number = checked_multiplier(value, name, zero_freezes=False)
    if number < lowest or number != int(number):
        raise ValueError(
            f"`{name}` counts optimizer steps (batches, not epochs) and must be an integer >= {lowest}. "
            f"Received: {shown(value)}."
        )
    return int(number)


def checked_schedule(value: Any, name: str = "schedule") -> Any:
    """`value`, if it is a schedule or a rate that stays as it is.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        return value
    if callable(value) or isinstance(value, str):
        raise ValueError(
            f"`{name}` must be a keras.optimizers.schedules.LearningRateSchedule, or a number. "
            f"Received: {shown(value)} (of type {type(value).__name__})."
        )
    return checked_multiplier(value, name, zero_freezes=False)


def as_float(step: Any) -> Any:
    """The optimizer's step as a float tensor."""
    return keras.ops.cast(step, keras.config.floatx())
