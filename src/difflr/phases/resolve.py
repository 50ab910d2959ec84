"""Phases resolved against a model: the plan of each, checked before anything is trained."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from difflr.checks import listed
from difflr.optimizers.unwrap import inner
from difflr.phases.phase import BY_HAND, Phase
from difflr.phases.rules_of_phase import RulesOfPlan, with_rules
from difflr.plan import Plan, Row
from difflr.plan.rebinding import schedules_of_phase
from difflr.plan.rule import describe
from difflr.plan.schedule import Constant, check_factors
from difflr.plan.targets import Targets


def resolve(phases: Sequence[Phase], plan: Plan, model: keras.Layer, learning_rate: object = None) -> list[Plan]:
    """The plan of each phase. Where its schedules start is not known before the phase begins.

    Args:
        phases: The phases.
        plan: The whole plan of the model: what it freezes stays frozen in every phase.
        model: The model.
        learning_rate: The optimizer's base rate, if it is a number, for rules that set a learning rate.

    Raises:
        ValueError: If a target or a rule matches nothing or only what is frozen or covered, a phase is like the one
            before, both a phase and the plan have a schedule, or something is trainable in no phase.
    """
    targets = Targets(model)
    trained = {id(row.variable) for row in plan.rows if not row.frozen}
    plans: list[Plan] = []
    rate = learning_rate if isinstance(learning_rate, float) else None
    for number, phase in enumerate(phases, start=1):
        if phase.schedule is not None:
            check_factors(phase.schedule)
        rate = phase.learning_rate or rate
        matched = _matched(phase, number, targets, trained)
        chosen = matched & trained
        frozen_layers = [layer.path for layer in plan.statistics if id(layer.layer) not in matched]
        rows = _rows_by_rules(phase, number, plan, model, rate, targets, chosen)
        variables = {key for key in chosen if key not in rows or not rows[key].frozen}
        if not variables:
            raise ValueError(f"Phase {number}: its `multipliers` freeze everything in `trainable`. Remove one of them.")

        def change(row: Row, phase: Phase = phase, rows: dict[int, Row] = rows) -> Row:
            later = rows.get(id(row.variable), row)
            return later if phase.schedule is None else dataclasses.replace(later, schedule=phase.schedule)

        _check_schedules(phase, number, [rows.get(id(r.variable), r) for r in plan.rows if id(r.variable) in variables])
        made = plan.only(
            variables,
            f"phase {number}",
            frozen_statistics=phase.frozen_statistics,
            frozen_layers=frozen_layers,
            change=change,
        )
        _check_starts(number, made)
        if plans and trained_in(made) == trained_in(plans[-1]) and _alike(phase, phases[number - 2], made, plans[-1]):
            raise ValueError(
                f"Phase {number} trains the same variables as phase {number - 1} in the same way: merge them."
            )
        plans.append(made)
    _check_all_train(plan, plans)
    return plans


def first_rate_of(model: keras.Layer) -> object:
    """The base rate with which a model's optimizer was made; `None` if it is not a difflr optimizer."""
    return getattr(inner(getattr(model, "optimizer", None)), "first_rate", None)


def trained_in(plan: Plan) -> frozenset[int]:
    """The identities of the variables that a plan trains."""
    return frozenset(id(row.variable) for row in plan.rows if not row.frozen)


def _matched(phase: Phase, number: int, targets: Targets, trained: set[int]) -> set[int]:
    """The identities of the variables in `trainable`, and of the statistics-only layers."""
    matched: set[int] = set()
    for target in phase.trainable:
        try:
            found = targets.ids(target)
        except (TypeError, ValueError) as error:
            text = str(error).replace("The rule for", "the target")
            raise type(error)(f"Phase {number}: {text}") from None
        if not (found - matched) & trained:
            raise ValueError(_without_effect(target, number, found & trained))
        matched |= found
    return matched


def _rows_by_rules(
    phase: Phase,
    number: int,
    plan: Plan,
    model: keras.Layer,
    learning_rate: float | None,
    targets: Targets,
    chosen: set[int],
) -> dict[int, Row]:
    """The rows of the plan with the rules of the phase; empty if it has none."""
    if phase.multipliers is None:
        return {}
    try:
        rows = with_rules(plan, phase.multipliers, model, learning_rate)
        if not isinstance(phase.multipliers, RulesOfPlan):
            _check_rules(phase, targets, chosen)
    except (TypeError, ValueError) as error:
        raise type(error)(f"Phase {number}: {error}") from None
    return rows


def _check_rules(phase: Phase, targets: Targets, chosen: set[int]) -> None:
    """Checks that each rule matches something that trains in the phase."""
    for rule in phase.multipliers:
        if not targets.ids(rule.target) & chosen:
            raise ValueError(
                f"the rule for {describe(rule.target)} has no effect: nothing of it trains in this phase. Remove it, or "
                "add the target to `trainable`."
            )


def _check_schedules(phase: Phase, number: int, rows: Sequence[Row]) -> None:
    scheduled = [row.path for row in rows if row.schedule is not None]
    if phase.schedule is not None and scheduled:
        raise ValueError(
            f"Phase {number} has a schedule, and so have {listed(scheduled)} in the plan or in the phase's `multipliers`. "
            "Remove one of them."
        )


def _check_starts(number: int, made: Plan) -> None:
    """Checks that no variable has a schedule of the phase for one number and one of the plan for another."""
    for row in made.rows:
        own, planned = schedules_of_phase(row, made.whole)
        if own and planned and not row.frozen:
            raise ValueError(
                f"Phase {number} has a schedule for the {listed(own)} of {row.path}, which counts from the beginning of the "
                f"phase, and the plan has one for its {listed(planned)}, which does not. Give the phase both, in its "
                "`multipliers`: difflr.Rule(..., schedule=..., hyperparameters={...}); or the plan."
            )


def _check_all_train(plan: Plan, plans: Sequence[Plan]) -> None:
    ever = frozenset().union(*map(trained_in, plans))
    never = [row.path for row in plan.rows if not row.frozen and id(row.variable) not in ever]
    if never:
        raise ValueError(
            f"No phase trains {listed(never)}. Add a phase that trains them, such as difflr.Phase(trainable='*') at the "
            f"end, or freeze them in the plan: {{{never[0].rsplit('/', 1)[0]!r}: difflr.FROZEN}}."
        )


def _alike(phase: Phase, before: Phase, plan: Plan, plan_before: Plan) -> bool:
    """Whether a phase trains in the same way as the one before, given the same variables."""
    cycles = any(
        not isinstance(rule.schedule, (Constant, type(None)))
        or any(map(callable, (rule.hyperparameters or {}).values()))
        for rule in phase.multipliers or ()
    )
    if phase.schedule is not None or before.schedule is not None or before.restore_best or cycles:
        return False
    same_rate = phase.learning_rate in (None, before.learning_rate)
    return same_rate and phase.frozen_statistics == before.frozen_statistics and plan == plan_before


def _without_effect(target: Any, number: int, trained: set[int]) -> str:
    if trained:
        return (
            f"Phase {number}: the target {describe(target)} has no effect: earlier targets cover all it matches. "
            "Remove it."
        )
    return (
        f"Phase {number}: the target {describe(target)} matches only what the plan or `trainable = False` freezes. "
        "Phases select from what the plan trains: remove the freezing, or remove the target from the phase."
    )


def check_length(
    phases: Sequence[Phase], first: int, epochs: int, steps_per_epoch: float | None, number: int = 0
) -> None:
    """Checks that `fit` is long enough for all phases, and not longer.

    Args:
        phases: The phases.
        first: The epoch in which the next phase begins.
        epochs: The number of the epoch before which `fit` ends, as its argument `epochs`.
        steps_per_epoch: Steps of the optimizer in an epoch, where known.
        number: The number of the next phase, from 0.

    Raises:
        ValueError: If a phase is certain to begin too late or to be cut short, or `fit` is longer than the phases.
    """
    begins = float(first)
    for position in range(number, len(phases)):
        if begins >= epochs:
            raise ValueError(
                f"Phase {position + 1} of {len(phases)} begins in epoch {int(begins) + 1} at the earliest, but `fit` has "
                f"epochs={epochs}. Give it more epochs, or the phases before it fewer."
            )
        if phases[position].until == BY_HAND:  # in a later `fit`, perhaps
            return
        begins = earliest_end(phases[position], begins, steps_per_epoch)
    if not phases[-1].is_open and phases[-1].epochs is not None and begins != epochs:
        exact = not any(phase.is_open or phase.steps is not None for phase in phases)
        if begins > epochs or exact:
            raise ValueError(
                f"The phases last {'' if exact else 'at least '}from epoch {first + 1} to {int(begins)}, and `fit` has "
                f"epochs={epochs}. Give `fit` epochs={int(begins)}, or the last phase no end."
            )


def earliest_end(phase: Phase, begins: float, steps_per_epoch: float | None) -> float:
    """The epoch before which a phase can end that begins at `begins` (4.5: in the middle of epoch 4)."""
    if phase.steps is not None:
        return begins + (phase.steps / steps_per_epoch if steps_per_epoch else 0)
    if phase.endless:
        return begins
    lengths = [phase.epochs] if phase.epochs is not None else []
    lengths += [1] if phase.until is not None or phase.threshold is not None else []
    lengths += [1 + phase.longest_wait] if phase.longest_wait is not None else []
    return int(begins) + min(lengths)
