"""Phases as numbers: when each begins and ends, and which plan is in force in it."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TypeAlias

from difflr.checks import wrong_type
from difflr.phases import Phase, Phases, PhaseScheduler
from difflr.phases.resolve import earliest_end, resolve
from difflr.plan import Plan
from difflr.plan.rebinding import with_own_schedules_from, with_schedule_starts

AnyPhases: TypeAlias = Phases | PhaseScheduler | Phase | Sequence[Phase]


@dataclasses.dataclass(frozen=True)
class Span:
    """When a phase begins and ends, in steps or in epochs.

    Args:
        number: The number of the phase, from 0.
        begins: Float.
        ends: Float; infinite for a last phase without an end.
        at_least: Whether its end is only the earliest possible one, as it or a phase before it ends on a plateau.
    """

    number: int
    begins: float
    ends: float
    at_least: bool = False


def checked_phases(phases: AnyPhases) -> Phases:
    """`phases` as `difflr.Phases`.

    Raises:
        TypeError: If it is nothing of the kind.
    """
    if isinstance(phases, PhaseScheduler):
        return phases.phases
    if isinstance(phases, Phases):
        return phases
    if isinstance(phases, (Phase, Sequence)) and not isinstance(phases, str):
        return Phases([phases] if isinstance(phases, Phase) else phases)
    raise wrong_type("`phases`", "difflr.Phases, or a list of difflr.Phase", phases)


def counts_steps(phases: Phases) -> bool:
    """Whether the phases count steps alone."""
    return any(phase.steps for phase in phases) and all(phase.steps or phase.endless for phase in phases)


def spans(
    phases: Phases,
    unit: str,
    steps_per_epoch: int | None = None,
    accumulation: int = 1,
    logged: Sequence[int] = (),
) -> list[Span]:
    """When each phase begins and ends; one that ends on a plateau as early as it can, unless the log says when.

    Args:
        phases: The phases.
        unit: `"step"`, which is a batch, or `"epoch"`.
        steps_per_epoch: Batches in an epoch; needed if some phases count in the other unit.
        accumulation: Batches in one update, which is what phases count as a step.
        logged: The number of the phase, from 1, at the end of each epoch, where that was logged.

    Raises:
        ValueError: If `steps_per_epoch` is needed and missing.
    """
    if unit == "step":
        others = [phase for phase in phases if not phase.steps and not phase.endless]
    else:
        others = [phase for phase in phases if phase.steps]
    if steps_per_epoch is None and others:
        raise ValueError(
            f"The phases count {'epochs' if unit == 'step' else 'steps'} and the plot counts {unit}s: pass "
            "`steps_per_epoch`, the number of batches in an epoch."
        )
    # Without `steps_per_epoch` all is counted in one unit: then an "epoch" is one update.
    updates = (steps_per_epoch or accumulation) / accumulation
    scale = (steps_per_epoch or accumulation) if unit == "step" else 1
    begins, uncertain, found = 0.0, False, []
    for number, phase in enumerate(phases):
        later = [epoch for epoch, in_phase in enumerate(logged) if in_phase > number + 1]
        if phase.endless:
            ends = math.inf
        elif phase.is_open and logged:
            ends = max(begins, later[0] if later else len(logged))
        else:
            ends = earliest_end(phase, begins, updates)
            uncertain = uncertain or phase.is_open
        found.append(Span(number, begins, ends, uncertain))
        begins = ends
    if unit == "epoch":
        return found
    return [
        dataclasses.replace(
            span, begins=round(span.begins * scale), ends=round(span.ends * scale) if span.ends < math.inf else math.inf
        )
        for span in found
    ]


def logged_spans(epochs: Sequence[int], phases: Sequence[int]) -> list[Span]:
    """The phases of a log over its epochs.

    Args:
        epochs: The numbers of the epochs.
        phases: The number of the phase, from 1, in each; empty where it was not logged.
    """
    runs = [list(run) for _, run in itertools.groupby(zip(phases, epochs, strict=False), key=lambda pair: pair[0])]
    return [Span(run[0][0] - 1, run[0][1] - 0.5, run[-1][1] + 0.5) for run in runs]


def plans_in(phases: Phases, plan: Plan, begins: Sequence[int], learning_rate: object = None) -> list[Plan]:
    """The plan in force in each phase.

    Args:
        phases: The phases.
        plan: The plan that they choose from.
        begins: The optimizer's step at which each phase begins.
        learning_rate: The optimizer's base rate, for rules of phases that set a learning rate, if it is a number.

    Raises:
        ValueError: If the model of the plan is not known, or the phases do not fit it.
    """
    if plan.model is None:
        raise ValueError(
            "Phases are resolved against the model, which this plan does not know: it was made from a list of variables, "
            "or the model has been deleted. Pass the model instead of the plan."
        )
    found: list[Plan] = []
    before = plan.whole
    for resolved, begin in zip(resolve(phases, before, plan.model, learning_rate), begins, strict=False):
        before = with_schedule_starts(with_own_schedules_from(resolved, begin), before, begin)
        found.append(before)
    return found
