"""Learning rates over the steps: the base rate, and what a row of the plan makes of it."""

from typing import TypeAlias

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.checks import checked_rate, wrong_type
from difflr.optimizers.unwrap import parts
from difflr.plan import Row

Rate: TypeAlias = float | LearningRateSchedule | keras.optimizers.Optimizer


def base_rate(learning_rate: Rate) -> float | LearningRateSchedule:
    """The base rate: a number or a schedule.

    Args:
        learning_rate: A number > 0, a schedule, or an optimizer with one of them.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is a number that is no rate, or a `MultiOptimizer`, which has several.
    """
    if isinstance(learning_rate, keras.optimizers.Optimizer):
        optimizers = parts(learning_rate)
        if len(optimizers) > 1:
            raise ValueError(
                f"`learning_rate` must be one base rate. Received: '{learning_rate.name}' with {len(optimizers)} "
                "optimizers, each with its own. Pass one of them, such as optimizer.optimizers[0]."
            )
        rate = keras_private.live_learning_rate(optimizers[0])
        if isinstance(rate, LearningRateSchedule):
            return rate
        return float(keras.ops.convert_to_numpy(rate() if callable(rate) else rate))
    if isinstance(learning_rate, LearningRateSchedule):
        return learning_rate
    if callable(learning_rate):
        expected = "a number, a keras.optimizers.schedules.LearningRateSchedule or an optimizer"
        raise wrong_type("`learning_rate`", expected, learning_rate)
    return checked_rate(learning_rate, "learning_rate")


def first_rate(learning_rate: Rate | None) -> float:
    """The base rate at the first step; 1 for `None`.

    Args:
        learning_rate: As for `base_rate`, or `None`.
    """
    return 1.0 if learning_rate is None else float(values_at(base_rate(learning_rate), np.zeros(1, "int64"))[0])


def values_at(schedule: float | LearningRateSchedule, steps: np.ndarray) -> np.ndarray:
    """The value of a schedule, or a number, at each step. One by one: not every schedule takes an array.

    Args:
        schedule: A schedule or a number.
        steps: Integer array.
    """
    if not isinstance(schedule, LearningRateSchedule):
        return np.full(len(steps), float(schedule))
    values = [schedule(keras.ops.convert_to_tensor(step, dtype="int32")) for step in steps]
    return np.array([float(keras.ops.convert_to_numpy(value)) for value in values])


def schedule_of(row: Row, steps: np.ndarray, accumulation: int = 1) -> np.ndarray:
    """The factor of the row's own schedule at each step.

    Args:
        row: The row of a plan.
        steps: Integer array of batches, which schedules count.
        accumulation: Integer, the batches in one update of the optimizer.
    """
    begun = np.maximum(steps - row.schedule_start * accumulation, 0)
    return values_at(1.0 if row.schedule is None else row.schedule, begun)


def planned_rates(row: Row, base_rates: np.ndarray, factors: np.ndarray | float = 1.0) -> np.ndarray:
    """The effective rates of a row, none below its `min_learning_rate`.

    Args:
        row: The row of a plan.
        base_rates: Float array, the base rate at each step.
        factors: The factor of the row's own schedule at each step.
    """
    return np.maximum(base_rates * row.multiplier * factors, row.min_learning_rate)


def accumulation_of(optimizer: keras.optimizers.Optimizer | None) -> int:
    """The number of batches in one update.

    Args:
        optimizer: The optimizer, where there is one.
    """
    return (optimizer is not None and parts(optimizer)[0].gradient_accumulation_steps) or 1
