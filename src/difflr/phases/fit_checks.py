"""Checks and warnings of `PhaseScheduler`."""

import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.checks import listed, shown
from difflr.optimizers import DifferentialOptimizer
from difflr.phases.phase import Phase
from difflr.phases.phases import Phases
from difflr.phases.progress import Progress
from difflr.plan.rows import grouped
from difflr.plan.schedule import value_at
from difflr.text_table import counted

SMALL = 1e-3  # of the highest rate: one-cycle ends at 4e-6 of it
SAMPLES = 16

if TYPE_CHECKING:
    from difflr.phases.phase_scheduler import PhaseScheduler


def check_phases(phases: Phases, optimizer: keras.optimizers.Optimizer, executed: int, per_epoch: int | None) -> None:
    """Checks that the optimizer supports the phases.

    Args:
        phases: The phases.
        optimizer: The optimizer.
        executed: `steps_per_execution`.
        per_epoch: The number of batches in an epoch, if known.

    Raises:
        ValueError: If not.
    """
    scheduled = isinstance(keras_private.live_learning_rate(optimizer), LearningRateSchedule)
    end = 0  # the batches of the epoch before the phase ends, of all batches if an epoch's number is not known
    for number, phase in enumerate(phases, start=1):
        batches = (phase.steps or 0) * (optimizer.gradient_accumulation_steps or 1)
        end = (end + batches) % (per_epoch or executed) if batches else 0
        if end % executed:
            raise ValueError(
                f"Phase {number} ends after {counted(phase.steps or 0, 'step')} ({counted(batches, 'batch', 'batches')}), "
                f"{f'after batch {end} of an epoch of {per_epoch}, ' if per_epoch else ''}and `compile` was given "
                f"steps_per_execution={executed}: it can end after multiples of {executed} batches"
                f"{' of an epoch, or at its end,' if per_epoch else ''} only."
            )
        if phase.own_bias_correction and keras_private.bias_correction(optimizer) is None:
            raise ValueError(
                f"Phase {number} has own_bias_correction=True, which is defined for Adam, AdamW and Adamax. Received: "
                f"{type(optimizer).__name__}. Leave it out, or use `warmup_steps`."
            )
        if phase.learning_rate is not None and scheduled:
            raise ValueError(
                f"Phase {number} sets learning_rate={phase.learning_rate:g}, but the base rate of the optimizer is a "
                "schedule. Give the optimizer a number, and the schedule to the phases: "
                "difflr.Phase(..., learning_rate=1e-3, schedule=...)."
            )


def check_order(scheduler: "PhaseScheduler", callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Checks the order of callbacks.

    Raises:
        ValueError: If a callback that must come before the scheduler comes after it.
    """
    behind = callbacks[callbacks.index(scheduler) + 1 :] if scheduler in callbacks else []
    if any(isinstance(callback, keras.callbacks.SwapEMAWeights) and callback.swap_on_epoch for callback in behind):
        raise ValueError(
            "`SwapEMAWeights(swap_on_epoch=True)` comes after `PhaseScheduler`, which would mistake the averages for "
            "the weights when a phase begins. Put it first: callbacks=[SwapEMAWeights(True), PhaseScheduler(...)]."
        )


def check_resumed(progress: Progress, phases: Sequence[str]) -> dict[str, Any]:
    """Checks that a run can continue with these phases, and returns the saved settings of the running one.

    Args:
        progress: The progress of the run.
        phases: The phases of this `fit`, as text.

    Raises:
        ValueError: If not.
    """
    ended = progress.phases[: progress.number]
    if tuple(phases[: progress.number]) != ended or len(phases) <= progress.number:
        raise ValueError(
            f"The run to be resumed is in phase {progress.number + 1}, after {list(ended) or 'none'}. Received: "
            f"{list(phases)}. Only the running phase and later ones can be edited; "
            "PhaseScheduler(phases, resume=False) begins with the first one."
        )
    try:
        return dict(json.loads(progress.phases[progress.number]))
    except (ValueError, TypeError, RecursionError):
        raise ValueError(
            f"The saved settings of phase {progress.number + 1} cannot be read: {shown(progress.phases[progress.number])}. "
            "PhaseScheduler(phases, resume=False) begins with the first phase."
        ) from None


def warn_of_steps_made_twice(epoch: int, steps: int) -> None:
    """Warns if the state is from the middle of the epoch that begins."""
    if steps:
        warnings.warn(
            f"The state is from after {counted(steps, 'step')} of epoch {epoch + 1}, which this `fit` starts again: these "
            "steps are made twice. Keras's BackupAndRestore causes this if it saves within epochs, or if the process was "
            "killed while saving; difflr.BackupAndRestore does not.",
            stacklevel=4,
        )


def warn_of_warmup(number: int, phase: Phase, steps: float) -> None:
    """Warns if `fit` ends in the first half of a warm-up.

    Args:
        number: The number of the phase, from 1.
        phase: The phase that begins.
        steps: The steps of the optimizer until `fit` ends.
    """
    if phase.warmup_steps > 2 * steps:
        warnings.warn(
            f"`fit` ends {counted(int(steps), 'step')} after the begin of phase {number}, which has "
            f"warmup_steps={phase.warmup_steps}: what it unfreezes ends at {steps / phase.warmup_steps:.2g} of its rate. "
            "Shorten the warm-up, or train longer.",
            stacklevel=2,
        )


def unfinished(phases: Phases, progress: Progress, stopped: bool) -> str:
    """The warning for a `fit` that ends before the last phase began.

    Args:
        phases: The phases.
        progress: The progress of the run.
        stopped: Whether a callback stopped it.
    """
    number, count = progress.number + 1, len(phases)
    later = f"phase {count}" if number == count - 1 else f"phases {number + 1} to {count}"
    start = f"in phase {number} of {count} after epoch {progress.epoch + 1}: {later} did not begin."
    if stopped:
        return (
            f"A callback such as EarlyStopping ended `fit` {start} It ends the whole training. To end one phase when a "
            "metric stops improving: difflr.Phase(..., monitor='val_loss', patience=3)."
        )
    return f"`fit` ended {start} To continue: fit(..., initial_epoch={progress.epoch + 1}, epochs=...)."


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
