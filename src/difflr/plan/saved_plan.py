"""Plans as data, and data bound to a model again.

A plan is saved row by row, not as rules, which may hold layers and functions. Binding never guesses: unless every row
matches exactly one variable, it raises an error that lists what matched and what did not.
"""

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from difflr import checks
from difflr.checks import listed, shown
from difflr.plan import hyperparameters
from difflr.plan.freezing import set_frozen
from difflr.plan.layer_tree import walk
from difflr.plan.rows import BY_USER, STATISTICS
from difflr.plan.rule import AXES, Rule
from difflr.plan.schedule import check_schedule, schedule_from_json, schedule_to_json
from difflr.text_table import counted

if TYPE_CHECKING:
    from difflr.plan.plan import Plan
    from difflr.plan.rows import Row

FORMAT = "difflr plan 2"

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


def to_config(plan: "Plan") -> dict[str, Any]:
    """The plan as plain data."""
    keeping = set(map(id, plan.kept_statistics()))
    return {
        "format": FORMAT,
        "frozen_statistics": plan.frozen_statistics,
        "rows": [
            {
                "path": row.path,
                "place": row.place,
                "name": row.name,
                "variable": short_name(row.variable),
                "shape": list(row.shape),
                "multiplier": row.multiplier,
                "weight_decay_multiplier": row.weight_decay_multiplier,
                "schedule": None if row.schedule is None else schedule_to_json(row.schedule),
                "schedule_start": row.schedule_start,
                "frozen": row.frozen,
                "keeps_statistics": id(row.layer) in keeping,
                "decided": row.decided,
                **({"hyperparameters": hyperparameters.to_json(row.hyperparameters)} if row.hyperparameters else {}),
                **({"min_learning_rate": row.min_learning_rate} if row.min_learning_rate else {}),
            }
            for row in plan.rows
        ],
        "statistics": [
            {"path": layer.path, "place": layer.place, "frozen": layer.frozen, "by_user": layer.by_user}
            for layer in plan.statistics
        ],
        "whole": None if plan.whole is plan else to_config(plan.whole),
    }


def read_json(text: str) -> dict[str, Any]:
    """The data in a plan's JSON text, checked.

    Raises:
        TypeError: If it is not text.
        ValueError: If it is not a plan.
    """
    config: dict[str, Any] = checks.read_json(text, "a plan")
    check_config(config)
    return config


def bind_to_model(config: dict[str, Any], fresh: "Plan") -> "Plan":
    """Binds saved rows to a model, by their place in the layer tree.

    Args:
        config: What `to_config` returned.
        fresh: A plan of the model without rules, for its variables.

    Raises:
        ValueError: If the places or shapes differ.
    """
    saved = {row["place"]: row for row in config["rows"]}
    there = {row.place: row for row in fresh.rows}
    saved_statistics = {entry["place"]: entry for entry in config["statistics"]}
    statistics_there = {layer.place: layer for layer in fresh.statistics}
    fits = [place for place, row in there.items() if place in saved and saved[place]["shape"] == list(row.shape)]
    if len(fits) != len(saved) or len(fits) != len(there) or saved_statistics.keys() != statistics_there.keys():
        reshaped = [
            f"{row.path} was {tuple(saved[place]['shape'])}, is {row.shape}"
            for place, row in there.items()
            if place in saved and place not in fits
        ]
        missing = [entry["path"] for entry in config["rows"] if entry["place"] not in there]
        missing += [saved_statistics[place]["path"] for place in saved_statistics if place not in statistics_there]
        new = [row.path for row in fresh.rows if row.place not in saved]
        new += [layer.path for layer in fresh.statistics if layer.place not in saved_statistics]
        raise ValueError(report("plan", len(fits), missing, new, reshaped))
    for row in fresh.rows:
        has_none = row.layer is not None and not isinstance(row.layer, keras.layers.BatchNormalization)
        if saved[row.place]["keeps_statistics"] and has_none:
            raise ValueError(
                f"The plan's row of {row.path} has 'keeps_statistics', and its layer has none: it is a "
                f"{type(row.layer).__name__}, and only BatchNormalization has moving statistics. Set it to false."
            )
    rows = [bound_row(saved[row.place], row) for row in fresh.rows]
    statistics = [
        dataclasses.replace(
            layer,
            frozen=layer.frozen or saved_statistics[place]["frozen"],
            by_user=layer.by_user or saved_statistics[place]["by_user"],
        )
        for place, layer in statistics_there.items()
    ]
    whole = None if config["whole"] is None else bind_to_model(config["whole"], fresh)
    return fresh.from_rows(rows, statistics, config["frozen_statistics"], whole, fresh.model)


def has_places(config: dict[str, Any], fresh: "Plan", variables: Sequence[keras.Variable]) -> bool:
    """Whether the saved rows have the places of a model, and Keras trains the variables of the trainable ones.

    Args:
        config: What `to_config` returned.
        fresh: A plan of the model without rules.
        variables: The variables that Keras builds the optimizer with.
    """
    there = {row.place: row for row in fresh.rows}
    if {row["place"] for row in config["rows"]} != set(there):
        return False
    trained = set(map(id, variables))
    return all(id(there[row["place"]].variable) in trained for row in config["rows"] if not row["frozen"])


def bound_row(saved: dict[str, Any], known: "Row") -> "Row":
    """A saved row for the variable of `known`. What the user has frozen since stays frozen.

    Args:
        saved: The saved row.
        known: The row of the variable in another plan.
    """
    row = dataclasses.replace(
        known,
        multiplier=float(saved["multiplier"]),
        weight_decay_multiplier=float(saved["weight_decay_multiplier"]),
        schedule=None if saved["schedule"] is None else schedule_from_json(saved["schedule"]),
        frozen=saved["frozen"],
        decided=dict(saved["decided"]),
        name=saved["name"],
        schedule_start=saved["schedule_start"],
        hyperparameters=hyperparameters.from_json(saved["hyperparameters"]) if "hyperparameters" in saved else {},
        min_learning_rate=float(saved.get("min_learning_rate", 0.0)),
    )
    return row.frozen_because(BY_USER) if known.decided.get("frozen") == BY_USER else row


def short_name(variable: Any) -> str:
    """Layer and variable name without counters: the part of `variable.path` that `load_model` preserves."""
    path = getattr(variable, "path", variable.name)
    return "/".join(re.sub(r"_\d+$", "", part) for part in path.split("/")[-2:])


def report(what: str, matched: int, missing: list[str], new: list[str], reshaped: list[str]) -> str:
    """The error text: what matched and what did not.

    Args:
        what: What was saved, such as "plan".
        matched: How many variables match.
        missing: Variables in the file but not in the model.
        new: Variables in the model but not in the file.
        reshaped: Variables with another shape.
    """
    parts = [
        f"The saved {what} does not fit this model. {counted(matched, 'variable')} {'matches' if matched == 1 else 'match'}."
    ]
    for title, names in (
        (f"In the {what} but not in the model", missing),
        (f"In the model but not in the {what}", new),
        ("Other shapes", reshaped),
    ):
        if names:
            parts.append(f"{title}: {listed(names)}.")
    if len(parts) == 1:
        parts.append("The same names come in another order or number.")
    parts.append(
        "Make a new plan for the changed model, difflr.Plan(model, rules). A saved model loads with `compile=False`."
    )
    return "\n".join(parts)


def mark_frozen(model: keras.Layer, config: dict[str, Any]) -> None:
    """Marks in a loaded model what a plan froze. The file says that a layer is not trainable, but not who froze it.

    Args:
        model: The model.
        config: The plan in force when it was saved, as `to_config` returned it.
    """
    rows = [row for row in config["rows"] if row["frozen"] and row["decided"].get("frozen") != BY_USER]
    frozen = {entry["place"] for entry in rows}
    frozen |= {entry["place"] for entry in config["statistics"] if entry["frozen"] and not entry["by_user"]}
    for leaf in walk(model):
        if leaf.place in frozen:
            thing = leaf.layer if leaf.variable is None else leaf.variable
            if thing is not None and not thing.trainable:
                set_frozen(thing, True)


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
        Rule(
            row["path"],
            row["multiplier"],
            row["weight_decay_multiplier"],
            frozen=row["frozen"],
            name=row["name"] or None,
            min_learning_rate=row.get("min_learning_rate"),
            hyperparameters=hyperparameters.from_json(row["hyperparameters"]) if row.get("hyperparameters") else None,
        )
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
