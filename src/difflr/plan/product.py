"""The product of two plans, row by row."""

import dataclasses
import json
import math
from typing import Any

from difflr.plan.hyperparameters import as_key, as_text
from difflr.plan.rows import BY_USER, DECLARED, Row
from difflr.plan.schedule_json import ScheduleProduct, schedule_to_json


def times(first: Row, second: Row) -> Row:
    """The product of two rows for one variable."""
    decided = dict(first.decided)
    for axis, who in second.decided.items():
        decided[axis] = f"{decided[axis]} * {who.removeprefix('* ')}" if axis in decided else who
    schedules = _factors(first.schedule, second.schedule)
    multiplier = first.multiplier * second.multiplier
    weight_decay_multiplier = first.weight_decay_multiplier * second.weight_decay_multiplier
    vanished = multiplier == 0 and first.multiplier and second.multiplier
    if vanished or not (math.isfinite(multiplier) and math.isfinite(weight_decay_multiplier)):
        raise ValueError(
            f"The product of the multipliers of {first.path} is out of the float range: {first.multiplier:g} * "
            f"{second.multiplier:g}, weight decay {first.weight_decay_multiplier:g} * "
            f"{second.weight_decay_multiplier:g}."
        )
    frozen = first.frozen or second.frozen or multiplier == 0
    if frozen:
        decided.setdefault("frozen", decided.get("multiplier", ""))
    if BY_USER in (first.decided.get("frozen"), second.decided.get("frozen")):
        decided["frozen"] = BY_USER
    hyperparameters = {} if frozen else _united(first, second)
    if frozen:
        decided = {
            axis: who
            for axis, who in decided.items()
            if axis not in {**first.hyperparameters, **second.hyperparameters}
        }
    return dataclasses.replace(
        first,
        multiplier=0.0 if frozen else multiplier,
        weight_decay_multiplier=weight_decay_multiplier,
        schedule=ScheduleProduct(schedules) if len(schedules) > 1 else (schedules or [None])[0],
        frozen=frozen,
        decided=decided,
        name=second.name or first.name,
        hyperparameters=hyperparameters,
        min_learning_rate=0.0 if frozen else max(first.min_learning_rate, second.min_learning_rate),
    )


def scaled(row: Row, factor: float) -> Row:
    """The row with its multiplier times a number. 0 freezes. The lowest rate and hyperparameters do not change."""
    decided = {} if factor == 1 else {"frozen" if factor == 0 else "multiplier": f"* {factor:g}"}
    return times(row, Row(row.path, row.variable, multiplier=factor, frozen=factor == 0, decided=decided))


def _united(first: Row, second: Row) -> dict[str, Any]:
    """The hyperparameters of both. They are not factors, so different values for one name have no product."""
    both = [name for name in first.hyperparameters if name in second.hyperparameters]
    for name in both:
        one, other = ({name: row.hyperparameters[name]} for row in (first, second))
        if as_key(one) != as_key(other):
            raise ValueError(
                f"The plans disagree about a hyperparameter of {first.path}: {as_text(one)} "
                f"({first.decided.get(name, 'no rule')}) and {as_text(other)} ({second.decided.get(name, 'no rule')}). "
                "Hyperparameters are not multiplied: set it in only one of the plans."
            )
    return {**first.hyperparameters, **second.hyperparameters}


def _factors(*schedules: Any) -> list[Any]:
    """All factors of `schedules` in a fixed order, so that products are equal however they were created."""
    factors: list[Any] = []
    for schedule in schedules:
        if schedule is not None:
            factors += schedule.schedules if isinstance(schedule, ScheduleProduct) else [schedule]
    return sorted(factors, key=lambda factor: json.dumps(schedule_to_json(factor), sort_keys=True))


def declared_once(first: Row, second: Row, declared: float) -> tuple[Row, Row]:
    """Both rows, with a declared multiplier applied once, and only where neither plan has a rule.

    Args:
        first: A row of one plan.
        second: The row of the same variable in the other.
        declared: The multiplier that the variable's layer declares.
    """
    counts = [row.decided.get("multiplier", "").startswith(DECLARED) for row in (first, second)]
    if counts[1] and "multiplier" in first.decided:
        return first, _undeclared(second, declared)
    if counts[0] and "multiplier" in second.decided:
        return _undeclared(first, declared), second
    return first, second


def _undeclared(row: Row, declared: float) -> Row:
    """`row` without the declared multiplier of its layer, but with the numbers that multiplied the plan."""
    if row.frozen:
        return row
    decided = dict(row.decided)
    numbers = decided.pop("multiplier").partition(" * ")[2]
    if numbers:
        decided["multiplier"] = f"* {numbers}"
    return dataclasses.replace(row, multiplier=row.multiplier / declared if numbers else 1.0, decided=decided)
