"""Turn decisions about variables into a plan: shared by all recipes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras

from difflr.plan import Plan, Row
from difflr.plan.rows import BY_USER

# For one row: axis -> value, and the name of the recipe; None: the recipe does not change this row.
Decision = tuple[Mapping[str, Any], str] | None


def plan_from_decisions(
    model: keras.Layer,
    decide: Callable[[Row], Decision],
    freezes: Callable[[keras.Layer], bool] = lambda layer: False,
) -> Plan:
    """The plan of `model` with the values that `decide` returns.

    Variables that the user froze stay frozen.

    Args:
        model: A built model.
        decide: Returns the values for a row.
        freezes: Whether to freeze a layer that has only moving statistics.
    """
    plan = Plan(model)
    rows = []
    for row in plan.rows:
        decision = None if row.decided.get("frozen") == BY_USER else decide(row)
        if decision is not None:
            axes, who = decision
            if axes.get("multiplier") == 0:
                raise ValueError(f"The multiplier of {row.path} underflows to 0 ({who}). Choose a larger one.")
            row = dataclasses.replace(row, **axes, decided={**row.decided, **dict.fromkeys(axes, who)})
        rows.append(row)
    statistics = [dataclasses.replace(row, frozen=row.frozen or freezes(row.layer)) for row in plan.statistics]
    return Plan.from_rows(rows, statistics, plan.frozen_statistics, model=plan.model)


def factor_or_frozen(multiplier: float) -> dict[str, Any]:
    """The axes that `multiplier` sets. 0 freezes."""
    return {"multiplier": multiplier} if multiplier else {"frozen": True}
