"""Warnings about schedules that are over before a phase begins."""

import warnings

import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers import DifferentialOptimizer
from difflr.plan.rows import grouped
from difflr.plan.schedule_json import value_at

SMALL = 1e-3  # of the highest rate: one-cycle ends at 4e-6 of it
SAMPLES = 16


def warn_of_rates_over(
    number: int, optimizer: DifferentialOptimizer, step: int, num_batches: int, accumulation: int
) -> None:
    """Warns of variables whose rate is close to 0 throughout the phase that begins.

    Args:
        number: The number of the phase, from 1.
        optimizer: The optimizer, with the plan of the phase.
        step: The optimizer's step at which the phase begins.
        num_batches: The length of the phase in batches, which schedules count.
        accumulation: The number of batches in a step.
    """
    rows = optimizer.plan.rows
    base = keras_private.live_learning_rate(optimizer)
    base_schedule = base if isinstance(base, LearningRateSchedule) else None
    base_is_over = _is_over(base_schedule, step * accumulation, num_batches)
    scheduled = (row for row in rows if not row.frozen and row.schedule is not None)
    over = [
        row.path
        for (_, start), alike in grouped(scheduled, lambda row: (id(row.schedule), row.schedule_start)).items()
        if _is_over(alike[0].schedule, (step - start) * accumulation, num_batches)
        for row in alike
    ]
    if base_is_over:
        names = listed([row.path for row in rows if not row.frozen])
        warnings.warn(
            f"In phase {number} {names} train at a rate close to 0: the schedule of the optimizer's base rate is over. "
            "It counts from the first step. Make it as long as the whole training, or give each phase a schedule: "
            "difflr.Phase(..., schedule=...).",
            stacklevel=2,
        )
    elif over:
        warnings.warn(
            f"In phase {number} {listed(over)} train at a rate close to 0: their schedule is over before the phase begins, "
            "or 0 throughout.",
            stacklevel=2,
        )


def _is_over(schedule: LearningRateSchedule | None, batch: int, num_batches: int) -> bool:
    """Whether a schedule stays near 0 from a batch on."""
    if schedule is None:
        return False
    later = _highest(schedule, batch, batch + num_batches)
    return later <= SMALL * max(later, _highest(schedule, 0, batch))


def _highest(schedule: LearningRateSchedule, first: int, last: int) -> float:
    """The highest of some values from `first` to before `last`."""
    steps = np.unique(np.linspace(first, max(last - 1, first), SAMPLES).astype("int32"))
    return max(value_at(schedule, step) for step in steps)
