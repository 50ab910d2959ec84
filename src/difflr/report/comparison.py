"""Runs side by side: their results, and in what they differ."""

import dataclasses
import math

import numpy as np

from difflr.phases.metric import direction
from difflr.report.record import Record, log_in
from difflr.text_table import counted

MAX_METRICS = 6
MAX_DIFFERENCES = 40


@dataclasses.dataclass(frozen=True)
class Result:
    """How a metric went.

    Args:
        name: The metric.
        last: Float, its last value.
        best: Float, its best value; NaN if its name does not tell whether larger or smaller is better.
        epoch: The epoch of the best value.
    """

    name: str
    last: float
    best: float = math.nan
    epoch: int = 0


def results(record: Record) -> list[Result]:
    """How the loss and the metrics of a run went.

    Args:
        record: The record of a run.
    """
    log = log_in(record)
    found = []
    for name in [n for metric in log.metrics for n in (metric, f"val_{metric}") if n in log.values]:
        values = log.values[name]
        if np.isnan(values).all():
            continue
        last, sign = float(values[~np.isnan(values)][-1]), direction(name)
        best = int(np.nanargmax(sign * values))
        found.append(Result(name, last, float(values[best]), log.epochs[best]) if sign else Result(name, last))
    return found


def table(records: list[Record]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table of runs.

    Args:
        records: The records.
    """
    found = [{result.name: result for result in results(record)} for record in records]
    names = [name for name in found[0] if name.startswith("val_")] or list(found[0])
    names = names[:MAX_METRICS]
    rows = [
        [record["title"], record["time"], str(len(record["epochs"])), f"{record['model']['trained']:,}"]
        + [_cell(by_name.get(name)) for name in names]
        for record, by_name in zip(records, found, strict=True)
    ]
    return ["run", "when", "epochs", "parameters trained", *names], rows


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    return f"{result.last:.4g}" + ("" if math.isnan(result.best) else f" (best {result.best:.4g})")


def differences(records: list[Record]) -> list[list[str]]:
    """The settings and versions in which runs differ: name, and the value in each run.

    Args:
        records: The records.
    """
    phases = ["; ".join(f"{who} until {until}" for who, until in record["phases"]) or "-" for record in records]
    rows = []
    for part in ("settings", "versions"):
        names = dict.fromkeys(name for record in records for name in record[part])
        rows += [[name, *(str(record[part].get(name, "-")) for record in records)] for name in names]
    return [row for row in [*rows, ["phases", *phases]] if len(set(row[1:])) > 1][:MAX_DIFFERENCES]


def plan_differences(record: Record, earlier: Record) -> str:
    """In a sentence, how the plan of a run differs from that of an earlier one.

    Args:
        record: The record of the run.
        earlier: The record of the earlier one.
    """
    plan, before = record["plan"], earlier["plan"]
    common = [path for path in plan if path in before]
    changed = [path for path in common if plan[path] != before[path]]
    others = len(set(plan) ^ set(before))
    parts = []
    if changed:
        shown = [f"{path}: {_multiplier(before[path])}, now {_multiplier(plan[path])}" for path in changed[:3]]
        more = f", ... ({len(changed)} in all)" if len(changed) > 3 else ""
        parts.append(
            f"another multiplier for {len(changed)} of {counted(len(common), 'variable')} ({'; '.join(shown)}{more})"
        )
    elif common:
        parts.append("the same multipliers" + (" where both have the variable" if others else ""))
    if others:
        parts.append(f"{counted(others, 'variable')} {'is' if others == 1 else 'are'} in one of the models only")
    return ", and ".join(parts) + "."


def _multiplier(value: float) -> str:
    return f"{value:g}" if value else "frozen"
