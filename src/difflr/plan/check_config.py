"""Checks of a saved plan before it is used."""

import json
from typing import Any

from difflr import checks
from difflr.checks import shown
from difflr.plan import hyperparameters
from difflr.plan.rows import BY_USER, STATISTICS
from difflr.plan.rule import AXES, Rule
from difflr.plan.schedule_json import check_schedule, schedule_from_json

FORMAT = "difflr plan 2"


def check_config(config: Any) -> None:
    """Checks that `config` is what `to_config` returns.

    Raises:
        ValueError: If not; the message names the row and the field.
    """
    checks.check(config, "The plan")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"This is not a difflr plan: expected the format '{FORMAT}'. Received: {shown(found)}.")
    checks.check_record(config, _PLAN, "The plan")
    checks.checked_option(config["frozen_statistics"], "frozen_statistics", STATISTICS)
    seen: set[str] = set()
    schedules: set[str] = set()
    for title, kinds in (("Row", _ROW), ("Entry of 'statistics'", _STATISTICS)):
        for number, entry in enumerate(config["rows" if kinds is _ROW else "statistics"]):
            where = f"{title} {number} of the plan"
            if isinstance(entry, dict) and isinstance(entry.get("path"), str):
                where += f" ({entry['path'][:100]})"
            checks.check_record(entry, kinds, where, _OPTIONAL)
            if entry["place"] in seen:
                raise ValueError(f"{where} is the second for {shown(entry['place'])}.")
            seen.add(entry["place"])
            if kinds is _ROW:
                _check_row(entry, where, schedules)
    whole = config["whole"]
    if whole is not None:
        check_config(whole)
        if whole["whole"] is not None or [row["place"] for row in whole["rows"]] != [
            row["place"] for row in config["rows"]
        ]:
            raise ValueError("The plan's 'whole', the plan without the freezing of a phase, has other variables.")


def _check_row(row: dict[str, Any], where: str, schedules: set[str]) -> None:
    """Checks a row as a rule, and each schedule once: `schedules` are those that were checked."""
    if min(row["shape"], default=0) < 0:
        raise ValueError(f"{where} has no valid 'shape'. Received: {shown(row['shape'])}.")
    checks.check_fields(row["decided"], (*AXES, *row.get("hyperparameters", ())), f"{where}, 'decided',")
    try:
        for config in (row["schedule"], *row.get("hyperparameters", {}).values()):
            if isinstance(config, dict) and (text := json.dumps(config, sort_keys=True)) not in schedules:
                check_schedule(config)
                schedules.add(text)
        rule_of(row)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    others = {
        "keeps_statistics": not row["frozen"] and row["keeps_statistics"],
        "decided": not row["frozen"] and row["decided"].get("frozen") == BY_USER,
        "hyperparameters": row["frozen"] and row.get("hyperparameters"),
        "min_learning_rate": row["frozen"] and row.get("min_learning_rate"),
    }
    if field := next((field for field, contradicts in others.items() if contradicts), None):
        raise ValueError(
            f"{where} contradicts itself: frozen is {row['frozen']}, but '{field}' means "
            f"{'trainable' if row['frozen'] else 'frozen'}. Received: {shown(row[field])}."
        )


def rule_of(row: dict[str, Any]) -> Rule:
    """The rule with the settings of a saved row.

    Args:
        row: The row.

    Raises:
        ValueError: If a value is invalid, or they contradict each other.
    """
    return Rule(
        row["path"],
        row["multiplier"],
        row["weight_decay_multiplier"],
        None if row["schedule"] is None else schedule_from_json(row["schedule"]),
        row["frozen"],
        row["name"] or None,
        min_learning_rate=row.get("min_learning_rate"),
        hyperparameters=hyperparameters.from_json(row["hyperparameters"]) if row.get("hyperparameters") else None,
    )


_PLAN: dict[str, Any] = {
    "format": str,
    "frozen_statistics": object,
    "rows": list,
    "statistics": list,
    "whole": dict | None,
}
_STATISTICS: dict[str, Any] = {"path": str, "place": str, "frozen": bool, "by_user": bool}
_ROW: dict[str, Any] = {
    "path": str,
    "place": str,
    "name": str,
    "variable": str,
    "shape": list[int],
    "multiplier": float,
    "weight_decay_multiplier": float,
    "schedule": dict | None,
    "schedule_start": int,
    "frozen": bool,
    "keeps_statistics": bool,
    "decided": dict[str, str],
    "hyperparameters": dict,
    "min_learning_rate": float,
}
_OPTIONAL = ("hyperparameters", "min_learning_rate")
