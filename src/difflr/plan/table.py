"""A plan as text or HTML: short, with equal rows merged, or full, with a line per variable."""

import collections
import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from difflr.plan.covering_targets import CoveringTargets
from difflr.plan.kinds import is_kind, known_kinds
from difflr.plan.layer_tree import Leaf
from difflr.plan.rows import BY_USER, Row
from difflr.plan.rule import AXES
from difflr.plan.schedule import value_at
from difflr.text_table import TextTable, counted, screen_width, text_table

if TYPE_CHECKING:
    from difflr.plan import Plan

LEFT = ("variables", "variable", "schedule", "name", "decided by")
OPTIONAL = ("number", "shape", "parameters", "decided by")  # columns dropped on a narrow screen, in this order
MAX_NAMES = 4
MAX_CHARACTERS = 80
MAX_REASONS = 3
MAX_NOTES = 4  # values of one axis below the table
MAIN_AXES = ("multiplier", "schedule", "frozen", "name")  # rows that differ in one of these are never merged
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Row)}
KINDS = ("bias", "norm", "embedding", "no_decay", "vector", "kernel")  # most specific first
DETAIL = re.compile(r": (height -?\d+|group \d+ of \d+)")  # how a recipe names one depth group

Rows = Sequence[Row]


def table_rows(
    plan: "Plan", learning_rate: float | None = None, step: int | None = None, full: bool = False
) -> tuple[list[str], list[list[str]]]:
    """The table as data: the header and the rows, as text.

    Args:
        plan: The plan.
        learning_rate: The base rate, for the effective-rate column.
        step: The step at which to evaluate schedules; `None`: without schedules.
        full: Whether each variable gets its own line.
    """
    folds = [[row] for row in plan.rows] if full else _folds(plan.rows)
    trained = [row for row in plan.rows if not row.frozen]
    axes = _axes_with_values(trained) if full else [axis for axis in _axes_with_values(trained) if _fits(axis, folds)]
    columns: list[tuple[str, Callable[[Rows], str]]] = []
    if full:
        columns += [("variable", lambda rows: rows[0].path), ("shape", lambda rows: _shape(rows[0]))]
    else:
        targets = CoveringTargets(plan.rows)
        whole = len(folds) == 1
        columns += [("variables", lambda rows: "all" if whole else _some(targets.of(rows)))]
        columns += [("number", lambda rows: str(len(rows)))]
    columns += [("parameters", lambda rows: f"{sum(row.num_parameters for row in rows):,}")]
    columns += [("multiplier", lambda rows: "frozen" if rows[0].frozen else _number(rows[0].multiplier, full))]
    if learning_rate is not None:
        columns += [("effective rate", _of_trained(lambda row: f"{_rate(row, learning_rate, step):.3g}"))]
    columns += [(_title(axis), _of_trained(functools.partial(_cell, axis))) for axis in axes]
    if any(row.schedule is not None for row in trained):
        columns += [("schedule", _of_trained(_schedule))]
    if any(row.name for row in trained):
        columns += [("name", _of_trained(lambda row: row.name or "-"))]
    if full or _one_reason(folds, axes) is None:
        columns += [("decided by", lambda rows: _reasons(rows, axes, full) or "default")]
    return [title for title, _ in columns], [[cell(rows) for _, cell in columns] for rows in folds]


def _of_trained(cell: Callable[[Row], str]) -> Callable[[Rows], str]:
    return lambda rows: "-" if rows[0].frozen else cell(rows[0])


def _folds(rows: Iterable[Row]) -> list[list[Row]]:
    """Group rows that agree on the main axes. Rows without a rule, or frozen by the user, stay separate."""
    folded: dict[Any, list[Row]] = {}
    for row in rows:
        reason = _reasons([row], (), False)
        who = reason if reason in ("", BY_USER) else "a rule"
        schedule = row.setting[2]  # as text, with its start step
        key = (row.multiplier, schedule, row.name) if not row.frozen else ()
        folded.setdefault((row.frozen, *key, who), []).append(row)
    return list(folded.values())


def _axes_with_values(trained: Rows) -> list[str]:
    """Other axes on which a trainable row differs from the default; hyperparameters by name."""
    others = [axis for axis in AXES if axis not in MAIN_AXES]
    names = dict.fromkeys(name for row in trained for name in row.hyperparameters)
    return [axis for axis in [*others, *names] if any(_value(row, axis) != DEFAULTS.get(axis) for row in trained)]


def _value(row: Row, axis: str) -> Any:
    """The value of a row on an axis; `None` for a hyperparameter that the optimizer decides."""
    return getattr(row, axis) if axis in AXES else row.hyperparameters.get(axis)


def _fits(axis: str, folds: Sequence[Rows]) -> bool:
    """Whether all merged rows have one value, so that it fits in a column."""
    return all(rows[0].frozen or len({_shown(_value(row, axis)) for row in rows}) == 1 for rows in folds)


def _rate(row: Row, learning_rate: float, step: int | None) -> float:
    rate = row.multiplier * learning_rate
    if row.schedule is not None and step is not None:
        rate *= value_at(row.schedule, max(0, step - row.schedule_start))
    return max(rate, row.min_learning_rate)


def _schedule(row: Row) -> str:
    if row.schedule is None:
        return "-"
    factors = getattr(row.schedule, "schedules", [row.schedule])
    start = f" from step {row.schedule_start:,}" if row.schedule_start else ""
    return " * ".join(type(factor).__name__ for factor in factors) + start


def _number(number: float, full: bool) -> str:
    return f"{number:g}" if full else f"{number:.3g}"


def _cell(axis: str, row: Row) -> str:
    return _shown(_value(row, axis))


def _shown(value: Any) -> str:
    """The value of an axis as a cell."""
    if value is None:
        return "-"
    return f"{value:g}" if isinstance(value, (int, float)) else type(value).__name__


def _title(axis: str) -> str:
    return axis.removesuffix("_multiplier").replace("_", " ") if axis in AXES else axis


def _shape(row: Row) -> str:
    return "x".join(map(str, row.shape)) or "-"


def _reasons(rows: Rows, axes: Iterable[str], full: bool) -> str:
    """The reasons for the values of the rows on the main axes and `axes`; for frozen rows, only for freezing."""
    found: dict[str, None] = {}
    for row in rows:
        known = row.decided if full else (*MAIN_AXES, *axes)
        decided = [who for axis, who in row.decided.items() if axis in (("frozen",) if row.frozen else known)]
        found.update(dict.fromkeys(decided if full else (DETAIL.sub("", who) for who in decided)))
    reasons = [one for one in found if not any(one in other and one != other for other in found)]
    if len(reasons) > MAX_REASONS and not full:
        return f"{reasons[0]}; ... {reasons[-1]} ({len(reasons)} in all)"
    return "; ".join(reasons)


def _one_reason(folds: Sequence[Rows], axes: Sequence[str]) -> str | None:
    """The common reason of several rows, if there is one."""
    reasons = {_reasons(rows, axes, False) for rows in folds}
    return reasons.pop() if len(folds) > 1 and len(reasons) == 1 else None


def _some(targets: list[str]) -> str:
    """Targets on one line: all of them, or the first, the last and their number."""
    text = ", ".join(targets)
    if len(targets) <= 2 or (len(targets) <= MAX_NAMES and len(text) <= MAX_CHARACTERS):
        return text
    return f"{targets[0]}, ... {targets[-1]} ({len(targets)} in all)"


def footer(plan: "Plan", learning_rate: float | None = None, full: bool = False) -> str:
    """The notes below the table: totals, BatchNormalization statistics, and values not in the columns.

    Args:
        plan: The plan.
        learning_rate: The base rate, if known.
        full: Whether the table has a line per variable.
    """
    frozen = sum(row.num_parameters for row in plan.rows if row.frozen)
    trainable = sum(row.num_parameters for row in plan.rows) - frozen
    trained = f"{counted(trainable, 'parameter')} {'is' if trainable == 1 else 'are'}"
    text = f"{counted(len(plan.rows), 'variable')}: {trained} trained, {frozen:,} frozen"
    if learning_rate is not None:
        text += f"; base rate {learning_rate:g}"
    statistics = len(plan.kept_statistics())
    if statistics:
        what = "kept" if plan.frozen_statistics == "keep" else "updated"
        text += f"; moving statistics of {counted(statistics, 'frozen BatchNormalization layer')}: {what}"
    return "\n".join([f"{text}.", *([] if full else _notes(plan))])


def _notes(plan: "Plan") -> list[str]:
    """Values that are the same in all rows, and values that differ within them."""
    folds = _folds(plan.rows)
    trained = [row for row in plan.rows if not row.frozen]
    axes = _axes_with_values(trained)
    columns = [axis for axis in axes if _fits(axis, folds)]
    reason = _one_reason(folds, columns)
    notes = [f"Decided by {reason}."] if reason else []
    for axis in axes:
        if axis not in columns:
            notes += _notes_of(axis, trained, CoveringTargets(plan.rows))
    return notes


def _notes_of(axis: str, trained: Rows, targets: CoveringTargets) -> list[str]:
    """Which rows have which non-default value on an axis."""
    by_value: dict[str, list[Row]] = collections.defaultdict(list)
    for row in trained:
        if _value(row, axis) != DEFAULTS.get(axis):
            by_value[_shown(_value(row, axis))].append(row)
    title = _title(axis).capitalize() if axis in AXES else axis
    if len(by_value) > MAX_NOTES:
        return [f"{title}: {len(by_value)} values; the full table has them."]
    times = " times" if axis.endswith("_multiplier") else ""
    notes = []
    for value, rows in by_value.items():
        who = _kind(rows, trained) or _some(targets.of(rows))
        by = "; ".join(dict.fromkeys(row.decided[axis] for row in rows if axis in row.decided))
        number = f"{counted(len(rows), 'variable')}"
        notes.append(f"{title}{times} {value}: {who} ({number}{f', by {by}' if by else ''}).")
    return notes


def _kind(rows: Rows, trained: Rows) -> str:
    """The kind that matches exactly these rows among the trainable ones; or empty."""
    leaves = {id(row): Leaf(row.variable, row.layer, [row.path], row.path) for row in trained}
    wanted, known = {id(row) for row in rows}, known_kinds(list(leaves.values()))
    for kind in KINDS:
        if kind in known and {key for key, leaf in leaves.items() if is_kind(leaf, kind)} == wanted:
            return f"kind:{kind}"
    return ""


def as_text(
    plan: "Plan",
    learning_rate: float | None = None,
    step: int | None = None,
    full: bool = False,
    width: int | None = None,
) -> TextTable:
    """The plan as an aligned table, with numbers right-aligned.

    Args:
        plan: The plan.
        learning_rate: As for `table_rows`.
        step: As there.
        full: As there.
        width: The maximum width; `None`: the width of the terminal, unlimited in files.
    """
    header, lines = table_rows(plan, learning_rate, step, full)
    return text_table(
        header,
        lines,
        _left(header),
        footer(plan, learning_rate, full),
        width=width or screen_width(),
        optional=OPTIONAL,
    )


def _left(header: Sequence[str]) -> set[int]:
    """The columns of words."""
    return {number for number, title in enumerate(header) if title in LEFT}
