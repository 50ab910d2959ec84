"""Phases resolved against a model: who trains in each, checked before anything is trained."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from difflr.checks import listed
from difflr.phases.phase import Phase
from difflr.plan import Plan, Row, layer_tree
from difflr.plan.rule import describe
from difflr.plan.targets import Targets


@dataclasses.dataclass(frozen=True)
class TrainableSet:
    """Who trains in one phase.

    Args:
        variables: The identities of the trainable variables.
        frozen_layers: Paths of the frozen BatchNormalization layers that have nothing to train.
    """

    variables: frozenset[int]
    frozen_layers: tuple[str, ...]


def resolve(
    phases: Sequence[Phase],
    plan: Plan,
    model: keras.Layer | None,
    leaves: list[layer_tree.Leaf] | None = None,
) -> list[TrainableSet]:
    """Who trains in each phase.

    Args:
        phases: The phases.
        plan: What they choose from: what it freezes is trainable in no phase.
        model: The model of the plan; `None` where only its leaves are known.
        leaves: Its leaves, where there is no model.

    Raises:
        ValueError: If a target matches nothing or only what is frozen or covered, a phase is like the one before, or
            something is trainable in no phase.
    """
    leaves = layer_tree.walk(model) if model is not None else leaves or []
    targets = Targets(leaves, model)
    trained = {id(row.variable) for row in plan.rows if not row.frozen}
    result: list[TrainableSet] = []
    for number, phase in enumerate(phases, start=1):
        matched: set[int] = set()
        for target in phase.trainable:
            found = _match(targets, target, number)
            new = {id(leaves[position].variable) for position in found - matched} & trained
            if not new:
                raise ValueError(_without_effect(target, number, {id(leaves[p].variable) for p in found} & trained))
            matched |= found
        trainable = frozenset(id(leaves[position].variable) for position in matched) & trained
        still = [leaf.path for p, leaf in enumerate(leaves) if leaf.variable is None and p not in matched]
        result.append(TrainableSet(trainable, tuple(still)))
        if number > 1 and result[-1] == result[-2] and _alike(phase, phases[number - 2]):
            raise ValueError(f"Phase {number} trains the same as phase {number - 1}, in the same way: make them one.")
        scheduled = [row.path for row in plan.rows if row.schedule is not None and id(row.variable) in trainable]
        if phase.schedule is not None and scheduled:
            raise ValueError(
                f"Phase {number} has a schedule, and so have {listed(scheduled)} in the plan. Leave one of them out."
            )
    ever = frozenset().union(*(trainable_set.variables for trainable_set in result))
    never = [row.path for row in plan.rows if id(row.variable) in trained - ever]
    if never:
        raise ValueError(
            f"No phase trains {listed(never)}. Add a phase in which they train, such as difflr.Phase(trainable='*') at the "
            f"end; or say in the plan that they never do: {{{never[0].rsplit('/', 1)[0]!r}: difflr.FROZEN}}."
        )
    return result


def _alike(phase: Phase, before: Phase) -> bool:
    return phase.frozen_statistics == before.frozen_statistics and phase.schedule is before.schedule is None


def _match(targets: Targets, target: Any, number: int) -> set[int]:
    try:
        return {position for position, _ in targets.match(target)}
    except (TypeError, ValueError) as error:
        text = str(error).replace("The rule for", "the target")
        raise type(error)(f"Phase {number}: {text}") from None


def _without_effect(target: Any, number: int, trained: set[int]) -> str:
    if trained:
        return (
            f"Phase {number}: the target {describe(target)} has no effect, as the targets before it cover all it matches. "
            "Leave it out."
        )
    return (
        f"Phase {number}: the target {describe(target)} matches only what the plan freezes, or what was set to "
        "`trainable = False`. Phases choose from what the plan trains: take the freezing out of the plan, or the target "
        "out of the phase."
    )


def plan_in_phase(phases: Sequence[Phase], number: int, current: Plan, step: int, model: keras.Layer) -> Plan:
    """The plan in force in a phase.

    A schedule of the phase counts from its beginning, the own schedule of a group from when it was unfrozen.

    Args:
        phases: The phases.
        number: The number of the phase, from 0.
        current: The plan in force so far.
        step: The optimizer's step at which the phase begins.
        model: Its model.

    Raises:
        ValueError: As of `resolve`; or if both the phase and the plan have a schedule.
    """
    phase, chosen = phases[number], resolve(phases, current.whole, model)[number]

    def change(row: Row) -> Row:
        if phase.schedule is not None:
            return dataclasses.replace(row, schedule=phase.schedule, schedule_start=step)
        before = current.row(row.variable)
        start = before.schedule_start if not before.frozen else step
        return row if row.schedule is None else dataclasses.replace(row, schedule_start=start)

    return current.whole.only(
        chosen.variables,
        f"phase {number + 1}",
        frozen_statistics=phase.frozen_statistics,
        frozen_layers=chosen.frozen_layers,
        change=change,
    )


def check_length(phases: Sequence[Phase], first: int, epochs: int, steps_per_epoch: float | None) -> None:
    """Checks that `fit` is long enough for all phases, and not longer.

    Args:
        phases: The phases.
        first: The epoch in which the first one begins.
        epochs: The number of the epoch before which `fit` ends, as its argument `epochs`.
        steps_per_epoch: Steps of the optimizer in an epoch, where known.

    Raises:
        ValueError: If a phase begins too late or is cut short for certain, or `fit` goes on after the last.
    """
    begins = float(first)
    for number, phase in enumerate(phases, start=1):
        if begins >= epochs:
            raise ValueError(
                f"Phase {number} of {len(phases)} begins in epoch {int(begins) + 1} at the earliest, but `fit` has "
                f"epochs={epochs}. Give it more epochs, or the phases before it fewer."
            )
        begins = earliest_end(phase, begins, steps_per_epoch)
    if phases[-1].monitor is None and phases[-1].epochs is not None and begins != epochs:
        exact = all(phase.monitor is None and phase.steps is None for phase in phases)
        if begins > epochs or exact:
            raise ValueError(
                f"The phases last {'' if exact else 'at least '}from epoch {first + 1} to {int(begins)}, and `fit` has "
                f"epochs={epochs}. Give `fit` epochs={int(begins)}, or the last phase no end."
            )


def earliest_end(phase: Phase, begins: float, steps_per_epoch: float | None) -> float:
    """The epoch before which a phase can end that begins at `begins` (4.5: in the middle of epoch 4)."""
    if phase.steps is not None:
        return begins + (phase.steps / steps_per_epoch if steps_per_epoch else 0)
    if phase.monitor is None:
        return int(begins) + phase.epochs if phase.epochs else begins
    longest = 1 + max(phase.patience, 1)
    return int(begins) + (longest if phase.epochs is None else min(longest, phase.epochs))
