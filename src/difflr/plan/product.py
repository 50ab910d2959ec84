"""The product of two plans, row by row."""

import dataclasses
import math

from difflr.plan.rows import BY_USER, Row
from difflr.plan.schedule_product import ScheduleProduct


def times(first: Row, second: Row) -> Row:
    """The product of two rows of one variable."""
    decided = dict(first.decided)
    for axis, who in second.decided.items():
        decided[axis] = f"{decided[axis]} * {who.removeprefix('* ')}" if axis in decided else who
    schedules = [schedule for schedule in (first.schedule, second.schedule) if schedule is not None]
    multiplier = first.multiplier * second.multiplier
    weight_decay_multiplier = first.weight_decay_multiplier * second.weight_decay_multiplier
    if not (math.isfinite(multiplier) and math.isfinite(weight_decay_multiplier)):
        raise ValueError(
            f"The product of the multipliers of {first.path} is beyond all floats: {first.multiplier:g} * "
            f"{second.multiplier:g}, weight decay {first.weight_decay_multiplier:g} * "
            f"{second.weight_decay_multiplier:g}."
        )
    frozen = first.frozen or second.frozen or multiplier == 0
    if frozen:
        decided.setdefault("frozen", decided.get("multiplier", ""))
    if BY_USER in (first.decided.get("frozen"), second.decided.get("frozen")):
        decided["frozen"] = BY_USER
    return dataclasses.replace(
        first,
        multiplier=0.0 if frozen else multiplier,
        weight_decay_multiplier=weight_decay_multiplier,
        schedule=ScheduleProduct(schedules) if len(schedules) == 2 else (schedules or [None])[0],
        frozen=frozen,
        decided=decided,
    )


def declared_once(first: Row, second: Row) -> tuple[Row, Row]:
    """Both rows, where what a layer declares counts where neither plan has a rule, and then once."""
    declared = [row.decided.get("multiplier", "").startswith("declared by") for row in (first, second)]
    if declared[1] and "multiplier" in first.decided:
        return first, _undeclared(second)
    if declared[0] and "multiplier" in second.decided:
        return _undeclared(first), second
    return first, second


def _undeclared(row: Row) -> Row:
    """`row` without the multiplier that its layer declares."""
    if row.frozen:
        return row
    others = {axis: who for axis, who in row.decided.items() if axis != "multiplier"}
    return dataclasses.replace(row, multiplier=1.0, decided=others)
