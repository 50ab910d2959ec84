"""The numbers behind the pictures of phases: from when to when each lasts, and who is trainable in it."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from difflr.phases import Phases
    from difflr.plan import Plan


@dataclasses.dataclass(frozen=True)
class Span:
    """From when to when a phase lasts, in steps or in epochs.

    Args:
        number: Which one it is, from 0.
        begins: Float.
        ends: Float; infinite for the last phase if it has no end of its own.
        at_least: Whether it, or one before it, ends on a plateau, so that it may end later than said.
    """

    number: int
    begins: float
    ends: float
    at_least: bool


def checked_phases(phases: Any) -> "Phases":
    """`phases` as `difflr.Phases`.

    Raises:
        TypeError: If it is none and no list of `difflr.Phase`.
    """
    from difflr.phases import Phase, Phases, PhaseScheduler

    if isinstance(phases, PhaseScheduler):
        return phases.phases
    if isinstance(phases, Phases):
        return phases
    if isinstance(phases, Phase):
        return Phases([phases])
    if isinstance(phases, Sequence) and not isinstance(phases, str):
        return Phases(phases)
    raise TypeError(
        f"`phases` must be difflr.Phases, or a list of difflr.Phase. Received: {phases!r} (of type "
        f"{type(phases).__name__})."
    )


def spans(phases: "Phases", unit: str, steps_per_epoch: float | None = None) -> list[Span]:
    """From when to when each phase lasts; one that ends on a plateau for as short as it can.

    Args:
        phases: The phases.
        unit: `"step"` or `"epoch"`.
        steps_per_epoch: Steps of the optimizer in an epoch; needed where the phases count in the other unit.

    Raises:
        ValueError: If it is needed and not given.
    """
    from difflr.phases.resolve import earliest_end

    in_steps = all(phase.steps is not None or phase.endless for phase in phases)
    in_epochs = all(phase.steps is None for phase in phases)
    if steps_per_epoch is None and not (in_steps if unit == "step" else in_epochs):
        other = "epochs" if unit == "step" else "steps"
        raise ValueError(
            f"The phases count {other} and the picture counts {unit}s: give `steps_per_epoch`, the number of batches in "
            "an epoch."
        )
    each = steps_per_epoch or 1
    begins, at_least, found = 0.0, False, []
    for number, phase in enumerate(phases):
        ends = float("inf") if phase.endless else earliest_end(phase, begins, each)
        at_least = at_least or phase.monitor is not None
        found.append((number, begins, ends, at_least))
        begins = ends
    scale = each if unit == "step" else 1
    if unit == "step":
        return [Span(n, round(b * scale), round(e * scale) if e < float("inf") else e, a) for n, b, e, a in found]
    return [Span(*one) for one in found]


def live_in(phases: "Phases", plan: "Plan", model: Any = None) -> list[frozenset[int]]:
    """The identities of the variables that are trainable in each phase.

    Args:
        phases: The phases.
        plan: What they choose from.
        model: The model of the plan; without it everything but `"kind:head"` is found from the plan.

    Raises:
        ValueError: If the phases do not fit the plan.
    """
    from difflr.phases.resolve import resolve
    from difflr.plan.layer_tree import Leaf

    if model is None and any(target == "kind:head" for phase in phases for target in phase.trainable):
        raise ValueError(
            "'kind:head' is found from the model's graph, which a plan does not hold: give the `model` as well."
        )
    leaves = None
    if model is None:
        leaves = [Leaf(row.variable, row.layer, [row.path, *row.aliases], {id(row.layer)}) for row in plan.rows]
    return [each.variables for each in resolve(phases, plan, model, leaves)]
