"""The plan behind a plot: its layers in the order of the data flow, divided where their rates differ."""

import dataclasses

import keras

from difflr.checks import wrong_type
from difflr.optimizers.plan_of import plan_of
from difflr.plan import Plan, Row


@dataclasses.dataclass(frozen=True)
class Band:
    """Rows of one layer with the same learning rate: one row of a plot.

    Args:
        layer: The path of the layer.
        variables: The names of the variables, with commas; empty where they are all the layer has.
        rows: Their rows of the plan.
    """

    layer: str
    variables: str
    rows: tuple[Row, ...]

    @property
    def row(self) -> Row:
        """Its first row, which stands for all."""
        return self.rows[0]

    def rate(self, base_rate: float | None) -> float:
        """Its effective rate without schedules, not below its `min_learning_rate`; its multiplier if no base rate is known.

        Args:
            base_rate: The base rate, or `None`.
        """
        return rate_of(self.row, base_rate)


def rate_of(row: Row, base_rate: float | None) -> float:
    """The same for a row of a plan.

    Args:
        row: The row.
        base_rate: The base rate, or `None`.
    """
    return row.multiplier if base_rate is None else max(row.multiplier * base_rate, row.min_learning_rate)


def as_plan(plan: Plan | keras.Layer) -> Plan:
    """The plan itself, or the plan in force of a model.

    Args:
        plan: A plan or a built model.

    Raises:
        TypeError: If it is neither.
    """
    if isinstance(plan, Plan):
        return plan
    if isinstance(plan, keras.Layer):
        return plan_of(plan)
    raise wrong_type("`plan`", "a difflr.Plan or a built model", plan)


def bands_of(*plans: Plan) -> list[Band]:
    """The layers of a plan in the order of the data flow, divided where their variables have different rates.

    Args:
        *plans: The plan; or the plans of several phases, which divide a layer if one of them does. The rows are those
            of the first.
    """
    layers: dict[str, dict[tuple, list[Row]]] = {}
    for row in plans[0].rows:
        key = tuple(_rate_setting(plan.row(row.variable)) for plan in plans)
        layers.setdefault(row.path.rpartition("/")[0] or row.path, {}).setdefault(key, []).append(row)
    return [
        Band(layer, ", ".join(row.path.rpartition("/")[2] for row in rows) if len(alike) > 1 else "", tuple(rows))
        for layer, alike in layers.items()
        for rows in alike.values()
    ]


def _rate_setting(row: Row) -> tuple[float, str, bool, float]:
    multiplier, _, schedule, frozen, *_ = row.setting
    return multiplier, schedule, frozen, row.min_learning_rate
