"""The rules of one phase, and the plan that they make of the model's plan."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from difflr.checks import shown
from difflr.plan import Plan, Row
from difflr.plan.rows import BY_USER, DECLARED, grouped
from difflr.plan.rule import AXES, Rule, as_rules
from difflr.plan.schedule import Constant


class RulesOfPlan(tuple[Rule, ...]):
    """Rules that together are a whole plan: not every one of them needs an effect in a phase."""


def rules_of_phase(multipliers: Any) -> tuple[Rule, ...]:
    """The rules of a phase, from its `multipliers`.

    Args:
        multipliers: Rules in any form, or a plan.

    Raises:
        TypeError: If it is neither.
        ValueError: If there is no rule, or a rule unfreezes.
    """
    if isinstance(multipliers, Plan):
        by_plan = (row for row in multipliers.rows if row.decided.get("frozen") != BY_USER)
        return RulesOfPlan(map(_rule, grouped(by_plan, lambda row: row.setting).values()))
    if isinstance(multipliers, (int, float)):
        raise TypeError(
            f"`multipliers` of a phase are rules, such as {{'head': 0.1}}, or a difflr.Plan. Received: "
            f"{shown(multipliers)}. To change the rate of everything, use `learning_rate`."
        )
    rules = multipliers if isinstance(multipliers, RulesOfPlan) else tuple(as_rules(multipliers))
    if not rules:
        raise ValueError(f"`multipliers` of a phase have no rule. Received: {shown(multipliers)}. Leave it out.")
    if any(rule.frozen is False for rule in rules):
        raise ValueError(
            "A rule of a phase cannot unfreeze: `trainable` selects among the variables that the model's plan "
            "trains; the others stay frozen in every phase. Remove the freezing from the plan."
        )
    return rules


def _rule(rows: Sequence[Row]) -> Rule:
    """The rule that gives rows their common settings."""
    row = rows[0]
    target = tuple(path for row in rows for path in (row.path, *row.aliases))
    if row.frozen:
        return Rule(target, frozen=True)
    values = {axis: getattr(row, axis) for axis in AXES if axis != "frozen"}
    values = {axis: value for axis, value in values.items() if value is not None and value != ""}
    if row.hyperparameters:
        values["hyperparameters"] = row.hyperparameters
    return Rule(target, **{"schedule": Constant(), **values})


def with_rules(plan: Plan, rules: Sequence[Rule], model: keras.Layer, learning_rate: float | None) -> dict[int, Row]:
    """The rows of a plan with the rules of a phase after its own, by identity of the variable.

    Args:
        plan: The plan.
        rules: The rules of the phase.
        model: The model.
        learning_rate: The base rate, for rules that set a learning rate.

    Raises:
        ValueError: As in `difflr.Plan`.
    """
    by_rules = Plan(model, rules, learning_rate=learning_rate)
    found = {}
    for row in plan.rows:
        later = by_rules.row(row.variable)
        reset = frozenset(row.hyperparameters) if isinstance(rules, RulesOfPlan) else later.reset
        found[id(row.variable)] = _later(row, later, reset)
    return found


def _later(row: Row, later: Row, reset: frozenset[str]) -> Row:
    """A row with what a later one decides by rules, and without the hyperparameters that those rules reset."""
    decided = {axis: who for axis, who in later.decided.items() if who != BY_USER and not who.startswith(DECLARED)}
    if row.frozen or not (decided or reset):
        return row
    if later.frozen:
        return row.frozen_because(decided.get("frozen", decided.get("multiplier", "")))
    values = {axis: getattr(later, axis) for axis in decided if axis in AXES and axis != "frozen"}
    planned = {name: value for name, value in row.hyperparameters.items() if name not in reset}
    values["hyperparameters"] = {**planned, **later.hyperparameters}
    decided = {axis: who for axis, who in row.decided.items() if axis not in reset} | decided
    return dataclasses.replace(row, **values, schedule_start=0, decided=decided)
