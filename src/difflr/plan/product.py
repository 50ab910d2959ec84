"""The product of two plans, row by row."""

import dataclasses
import json
import math
from typing import Any

from difflr.plan.hyperparameters import as_key, as_text
from difflr.plan.rows import BY_USER, DECLARED, Row
from difflr.plan.schedule import ScheduleProduct, schedule_to_json


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
    frozen = first.frozen or second.frozen
    if BY_USER in (first.decided.get("frozen"), second.decided.get("frozen")):
        decided["frozen"] = BY_USER
    if not frozen:
        _check_agree(first, second)
    return dataclasses.replace(
        first,
        multiplier=multiplier,
        weight_decay_multiplier=weight_decay_multiplier,
        schedule=ScheduleProduct(schedules) if len(schedules) > 1 else (schedules or [None])[0],
        frozen=frozen,
        decided=decided,
        name=second.name or first.name,
        hyperparameters={**first.hyperparameters, **second.hyperparameters},
        min_learning_rate=max(first.min_learning_rate, second.min_learning_rate),
    )


def scaled(row: Row, factor: float) -> Row:
    """The row with its multiplier times a number. 0 freezes. The lowest rate and hyperparameters do not change."""
    decided = {} if factor == 1 else {"frozen" if factor == 0 else "multiplier": f"* {factor:g}"}
    return times(row, Row(row.path, row.variable, multiplier=factor, frozen=factor == 0, decided=decided))


def _check_agree(first: Row, second: Row) -> None:
    """Checks the hyperparameters: they are not factors, so different values for one name have no product."""
    for name in first.hyperparameters.keys() & second.hyperparameters.keys():
        one, other = ({name: row.hyperparameters[name]} for row in (first, second))
        if as_key(one) != as_key(other):
            raise ValueError(
                f"The plans disagree about a hyperparameter of {first.path}: {as_text(one)} "
                f"({first.decided.get(name, 'no rule')}) and {as_text(other)} ({second.decided.get(name, 'no rule')}). "
                "Hyperparameters are not multiplied: set it in only one of the plans."
            )


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
        return first, second.undeclared(declared)
    if counts[0] and "multiplier" in second.decided:
        return first.undeclared(declared), second
    return first, second
