"""A plan as text and as HTML: variables with equal settings and the same reasons in one row."""

import collections
import html
from typing import TYPE_CHECKING, Any

import keras

from difflr.plan import hyperparameters
from difflr.plan.group_names import covering_names, layers_above
from difflr.text_table import text_table

if TYPE_CHECKING:
    from difflr.plan import Plan, Row

MAX_NAMES = 4
MAX_CHARACTERS = 80


def table_rows(
    plan: "Plan", learning_rate: float | None = None, step: int | None = None
) -> tuple[list[str], list[list[str]]]:
    """The table as data: the header, and its rows as text.

    Args:
        plan: The plan.
        learning_rate: The base rate, for the column of effective rates.
        step: The step at which schedules are counted in; `None`: they are not.
    """
    folded: dict[Any, list[Row]] = {}
    for row in plan.rows:
        folded.setdefault((row.setting, _reasons(row)), []).append(row)
    with_decay = any(row.weight_decay_multiplier != 1 for row in plan.rows)
    with_schedule = any(row.schedule is not None for row in plan.rows)
    with_others = any(row.hyperparameters for row in plan.rows)
    with_floor = any(row.min_learning_rate for row in plan.rows)
    with_name = any(row.name and not row.frozen for row in plan.rows)
    header = ["variables", "number", "parameters", "multiplier"]
    header += ["effective rate"] if learning_rate is not None else []
    header += ["weight decay"] if with_decay else []
    header += ["schedule"] if with_schedule else []
    header += ["hyperparameters"] if with_others else []
    header += ["lowest rate"] if with_floor else []
    header += ["name"] if with_name else []
    header += ["decided by"]
    total = collections.Counter(prefix for row in plan.rows for prefix in layers_above(row.path))
    lines = []
    for rows in folded.values():
        first = rows[0]
        line = [
            "all" if len(rows) == len(plan.rows) else _covered(rows, total),
            str(len(rows)),
            f"{sum(row.num_parameters for row in rows):,}",
            "frozen" if first.frozen else f"{first.multiplier:g}",
        ]
        if learning_rate is not None:
            rate = max(first.multiplier * learning_rate * _factor(first, step), first.min_learning_rate)
            line.append("-" if first.frozen else f"{rate:.3g}")
        if with_decay:
            line.append("-" if first.frozen else f"{first.weight_decay_multiplier:g}")
        if with_schedule:
            line.append(type(first.schedule).__name__ if first.schedule and not first.frozen else "-")
        if with_others:
            line.append(hyperparameters.as_text(first.hyperparameters) or "-")
        if with_floor:
            line.append(f"{first.min_learning_rate:g}" if first.min_learning_rate else "-")
        if with_name:
            line.append("-" if first.frozen else first.name or "-")
        line.append(_reasons(first) or "default")
        lines.append(line)
    return header, lines


def _factor(row: "Row", step: int | None) -> float:
    if row.schedule is None or step is None:
        return 1.0
    return float(keras.ops.convert_to_numpy(row.schedule(keras.ops.convert_to_tensor(step, dtype="int32"))))


def _reasons(row: "Row") -> str:
    """Who decided what is in the row; for a frozen row only who froze it."""
    if row.frozen:
        return row.decided.get("frozen", "")
    reasons = list(dict.fromkeys(row.decided.values()))
    return "; ".join(reason for reason in reasons if not any(reason in other and reason != other for other in reasons))


def _covered(rows: list["Row"], total: collections.Counter[str]) -> str:
    """Short names for `rows`, in one line.

    Args:
        rows: Some rows of a plan.
        total: For each layer of the plan, by path, how many rows are below it.
    """
    listed = covering_names([row.path for row in rows], total)
    text = ", ".join(listed) if len(listed) <= MAX_NAMES else f"{listed[0]}, {listed[1]}, ... {listed[-1]}"
    if len(text) > MAX_CHARACTERS and len(listed) > 2:
        return f"{listed[0]}, ... {listed[-1]}"
    return text


def footer(plan: "Plan", learning_rate: float | None = None) -> str:
    """The line below the table: totals, and what BatchNormalization statistics do."""
    frozen = sum(row.num_parameters for row in plan.rows if row.frozen)
    trainable = sum(row.num_parameters for row in plan.rows) - frozen
    text = f"{len(plan.rows)} variables: {trainable:,} parameters are trained, {frozen:,} frozen"
    if learning_rate is not None:
        text += f"; base rate {learning_rate:g}"
    statistics = len(plan.kept_statistics())
    if statistics:
        what = "kept" if plan.frozen_statistics == "keep" else "updated"
        text += f"; moving statistics of {statistics} frozen BatchNormalization layers: {what}"
    return text + "."


def as_text(plan: "Plan", learning_rate: float | None = None, step: int | None = None) -> str:
    """The plan as an aligned table; numbers to the right."""
    header, lines = table_rows(plan, learning_rate, step)
    return text_table(header, lines, left={0, len(header) - 1}, footer=footer(plan, learning_rate))


def as_html(plan: "Plan", learning_rate: float | None = None) -> str:
    """The plan as an HTML table, for notebooks."""
    header, lines = table_rows(plan, learning_rate)
    left = {0, len(header) - 1}

    def cells(tag: str, line: list[str]) -> str:
        return "".join(
            f'<{tag} style="text-align: {"left" if column in left else "right"}">{html.escape(cell)}</{tag}>'
            for column, cell in enumerate(line)
        )

    body = "".join(f"<tr>{cells('td', line)}</tr>" for line in lines)
    return (
        f"<table><thead><tr>{cells('th', header)}</tr></thead><tbody>{body}</tbody></table>"
        f"<p>{html.escape(footer(plan, learning_rate))}</p>"
    )
