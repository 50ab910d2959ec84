"""Runs beside each other: what each reached, and in what they differ."""

import dataclasses
import math
from typing import Any

import numpy as np

from difflr.report.read_report import log_in

MAX_METRICS = 6
MAX_DIFFERENCES = 40


@dataclasses.dataclass(frozen=True)
class Result:
    """How a metric went.

    Args:
        name: The metric.
        last: Float, its last value.
        best: Float, its best value; NaN if the name does not tell what is better.
        epoch: The epoch of the best value.
    """

    name: str
    last: float
    best: float
    epoch: int


def results(record: dict[str, Any]) -> list[Result]:
    """How the loss and the metrics of a run went.

    Args:
        record: The record of a run.
    """
    log = log_in(record)
    found = []
    for name in [each for metric in log.metrics for each in (metric, f"val_{metric}") if each in log.values]:
        values = log.values[name]
        there = values[~np.isnan(values)]
        if not len(there):
            continue
        sign = better(name)
        best = int(np.nanargmin(-sign * values)) if sign else 0
        found.append(Result(name, float(there[-1]), float(values[best]) if sign else math.nan, log.epochs[best]))
    return found


def better(name: str) -> int:
    """1 if larger values of a metric are better, -1 if smaller ones are, 0 if its name does not tell."""
    from difflr.phases.phase import LARGER_IS_BETTER, SMALLER_IS_BETTER

    smaller = any(word in name.lower() for word in SMALLER_IS_BETTER)
    larger = any(word in name.lower() for word in LARGER_IS_BETTER)
    return int(larger) - int(smaller)


def table(records: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table of runs: this one first.

    Args:
        records: The records.
    """
    reached = [{each.name: each for each in results(record)} for record in records]
    names = list(reached[0])
    chosen = [name for name in names if name.startswith("val_")] or names
    header = ["run", "when", "epochs", "parameters trained", *chosen[:MAX_METRICS]]
    lines = []
    for record, mine in zip(records, reached, strict=True):
        cells = [_cell(mine.get(name)) for name in chosen[:MAX_METRICS]]
        lines.append(
            [record["title"], record["time"], str(len(record["epochs"])), f"{record['model']['trained']:,}", *cells]
        )
    return header, lines


def _cell(result: Result | None) -> str:
    if result is None:
        return "-"
    return f"{result.last:.4g}" + ("" if math.isnan(result.best) else f" (best {result.best:.4g})")


def differences(records: list[dict[str, Any]]) -> list[list[str]]:
    """The settings and versions in which runs differ: name, and the value in each run.

    Args:
        records: The records.
    """
    lines = []
    for part in ("settings", "versions"):
        names = list(dict.fromkeys(name for record in records for name in record[part]))
        for name in names:
            values = [str(record[part].get(name, "-")) for record in records]
            if len(set(values)) > 1:
                lines.append([name, *values])
    phases = ["; ".join(f"{who} until {until}" for who, until in record["phases"]) or "-" for record in records]
    if len(set(phases)) > 1:
        lines.append(["phases", *phases])
    return lines[:MAX_DIFFERENCES]


def plan_differences(record: dict[str, Any], earlier: dict[str, Any]) -> str:
    """In a sentence, how the plan of a run differs from that of an earlier one.

    Args:
        record: The record of the run.
        earlier: The record of the earlier one.
    """
    mine, theirs = record["plan"], earlier["plan"]
    common = [path for path in mine if path in theirs]
    changed = [path for path in common if mine[path] != theirs[path]]
    alone = len(set(mine) ^ set(theirs))
    parts = []
    if changed:
        shown = [f"{path}: {_multiplier(theirs[path])}, now {_multiplier(mine[path])}" for path in changed[:3]]
        more = f", ... ({len(changed)} in all)" if len(changed) > 3 else ""
        parts.append(f"{len(changed)} of {len(common)} variables have another multiplier ({'; '.join(shown)}{more})")
    elif common:
        parts.append("the same multipliers" + (" where both have the variable" if alone else ""))
    if alone:
        parts.append(f"{alone} variables are in one of the models only")
    return ", and ".join(parts) + "."


def _multiplier(value: float) -> str:
    return f"{value:g}" if value else "frozen"
