"""Checks of a saved plan before it is used."""

import json
from typing import Any

from difflr import checks
from difflr.checks import checked_multiplier, shown
from difflr.plan import hyperparameters
from difflr.plan.group_names import check_group_name
from difflr.plan.rows import BY_USER, STATISTICS
from difflr.plan.rule import AXES
from difflr.plan.schedule_json import check_schedule

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
    rows = config.get("rows")
    statistics = config.get("statistics")
    if not isinstance(rows, list) or not isinstance(statistics, list):
        raise ValueError("The plan has no list 'rows' or no list 'statistics'.")
    checks.checked_option(config.get("frozen_statistics"), "frozen_statistics", STATISTICS)
    checks.check_fields(config, ("format", "frozen_statistics", "rows", "statistics", "whole"), "The plan")
    seen: set[str] = set()
    for title, entries, fields in (("Row", rows, _FIELDS), ("Entry of 'statistics'", statistics, _STATISTICS_FIELDS)):
        for number, entry in enumerate(entries):
            for field, kinds in fields.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(field, ...), kinds):
                    received = entry.get(field) if isinstance(entry, dict) else entry
                    raise ValueError(
                        f"{title} {number} of the plan has no valid '{field}'. Received: {shown(received)}."
                    )
            known = {**fields, **(_OPTIONAL_FIELDS if fields is _FIELDS else {})}
            checks.check_fields(entry, known, f"{title} {number} of the plan ({entry['path'][:100]})")
            if entry["place"] in seen:
                raise ValueError(f"{title} {number} of the plan is the second for {shown(entry['place'])}.")
            seen.add(entry["place"])
    for number, row in enumerate(rows):
        where = f"Row {number} of the plan ({row['path'][:100]})"
        for field in ("multiplier", "weight_decay_multiplier"):
            checked_multiplier(row[field], f"row {number} ({row['path'][:100]}): {field}")
        if not all(isinstance(size, int) and size >= 0 for size in row["shape"]):
            raise ValueError(f"Row {number} of the plan has no valid 'shape'. Received: {shown(row['shape'])}.")
        if row["name"]:
            check_group_name(row["name"])
        if not all(isinstance(who, str) for who in row["decided"].values()):
            raise ValueError(f"Row {number} of the plan has no valid 'decided'. Received: {shown(row['decided'])}.")
        if row["frozen"] != (row["multiplier"] == 0):
            raise ValueError(
                f"{where} contradicts itself: frozen is {row['frozen']}, the multiplier is {row['multiplier']}; 0 "
                "means frozen."
            )
        _check_optional(row, where)
        checks.check_fields(row["decided"], (*AXES, *row.get("hyperparameters", ())), f"{where}, 'decided',")
        if not row["frozen"] and (row["keeps_statistics"] or row["decided"].get("frozen") == BY_USER):
            field = "keeps_statistics" if row["keeps_statistics"] else "decided"
            raise ValueError(
                f"{where} contradicts itself: frozen is False, but '{field}' means frozen. "
                f"Received: {shown(row[field])}."
            )
    schedules = {json.dumps(row["schedule"], sort_keys=True): n for n, row in enumerate(rows) if row["schedule"]}
    for text, number in schedules.items():
        try:
            check_schedule(json.loads(text))
        except ValueError as error:
            raise ValueError(f"Row {number} of the plan ({rows[number]['path'][:100]}), schedule: {error}") from None
    if config.get("whole", ...) is not None:
        _check_whole(config)


def _check_optional(row: dict[str, Any], where: str) -> None:
    for field, kinds in _OPTIONAL_FIELDS.items():
        if field in row and not isinstance(row[field], kinds):
            raise ValueError(f"{where} has no valid '{field}'. Received: {shown(row[field])}.")
    try:
        if "hyperparameters" in row:
            hyperparameters.check_json(row["hyperparameters"])
        if "min_learning_rate" in row:
            checks.checked_number(row["min_learning_rate"], "min_learning_rate")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if row["frozen"] and (row.get("hyperparameters") or row.get("min_learning_rate")):
        raise ValueError(f"{where} contradicts itself: it is frozen, but has hyperparameters or a floor.")


def _check_whole(config: dict[str, Any]) -> None:
    whole = config.get("whole")
    if not isinstance(whole, dict):
        raise ValueError(f"The plan has no valid 'whole'. Received: {shown(whole)}.")
    check_config(whole)
    if whole.get("whole") is not None or [row["place"] for row in whole["rows"]] != [
        row["place"] for row in config["rows"]
    ]:
        raise ValueError("The plan's 'whole', the plan without the freezing of a phase, has other variables.")


_STATISTICS_FIELDS: dict[str, Any] = {"path": str, "place": str, "frozen": bool, "by_user": bool}
_FIELDS: dict[str, Any] = {
    "path": str,
    "place": str,
    "name": str,
    "variable": str,
    "shape": list,
    "multiplier": (int, float),
    "weight_decay_multiplier": (int, float),
    "schedule": (dict, type(None)),
    "schedule_start": int,
    "frozen": bool,
    "keeps_statistics": bool,
    "decided": dict,
}

_OPTIONAL_FIELDS: dict[str, Any] = {"hyperparameters": dict, "min_learning_rate": (int, float)}
