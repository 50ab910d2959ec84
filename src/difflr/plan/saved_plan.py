"""Plans as data, and data bound to variables again: by layer-tree path, or by the order Keras saves them in.

A plan is saved row by row, never as rules: rules may hold layers and functions. Binding never guesses: what does not
fit one row to one variable raises, with a report of what matched and what did not.
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from difflr import checks
from difflr.checks import listed
from difflr.plan import hyperparameters
from difflr.plan.check_config import FORMAT, check_config
from difflr.plan.layer_tree import set_frozen, walk
from difflr.plan.rows import BY_USER, StatisticsLayer
from difflr.plan.schedule_json import schedule_from_json, schedule_to_json
from difflr.text_table import counted

if TYPE_CHECKING:
    from difflr.plan.plan import Plan
    from difflr.plan.rows import Row

MAX_WORK = 20_000_000  # cells of a table that is filled to find out which variable is which


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
                **_optional_to_config(row),
            }
            for row in plan.rows
        ],
        "statistics": [
            {"path": layer.path, "place": layer.place, "frozen": layer.frozen, "by_user": layer.by_user}
            for layer in plan.statistics
        ],
        "whole": None if plan.whole is plan else to_config(plan.whole),
    }


def _optional_to_config(row: "Row") -> dict[str, Any]:
    """What few rows have: it is left out where there is none."""
    values = {
        "hyperparameters": hyperparameters.to_json(row.hyperparameters),
        "min_learning_rate": row.min_learning_rate,
    }
    return {field: value for field, value in values.items() if value}


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
        fresh: A plan of the model without rules: its rows know the variables.

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


def bind_to_variables(config: dict[str, Any], variables: "Plan") -> "Plan":
    """Binds saved rows to the variables of a loaded model, in order, as Keras does with the optimizer's state.

    Names are compared as far as they survive loading (layer and variable name, without counters), and shapes. Frozen
    rows may be absent: Keras does not list the variables of layers that were saved as not trainable.

    Args:
        config: What `to_config` returned.
        variables: A plan without rules of the variables that Keras builds the optimizer with.

    Raises:
        ValueError: If rows and variables do not fit, or fit in more than one way.
    """
    saved = config["rows"]
    absent = len(saved) - len(variables.rows)
    if absent * len(saved) > MAX_WORK:
        raise ValueError(
            f"The saved plan has {counted(len(saved), 'row')}, and this model trains "
            f"{counted(len(variables.rows), 'variable')}: too far apart to find out which is which. "
            "Load the model with `compile=False` and make a new plan."
        )
    places = _align(saved, [row.variable for row in variables.rows])
    if places is None:
        raise ValueError(_report_by_order(saved, variables.rows))

    def rows_of(entries: list[dict[str, Any]]) -> list["Row"]:
        found = zip(entries, places, strict=True)
        return [_named(bound_row(row, variables.rows[place]), row) for row, place in found if place is not None]

    statistics = [
        StatisticsLayer(entry["path"], None, entry["frozen"], entry["by_user"], entry["place"])
        for entry in config["statistics"]
    ]
    whole = config["whole"]
    if whole is not None:
        whole = variables.from_rows(rows_of(whole["rows"]), statistics, whole["frozen_statistics"])
    return variables.from_rows(rows_of(saved), statistics, config["frozen_statistics"], whole)


def has_places(config: dict[str, Any], fresh: "Plan", variables: Sequence[keras.Variable]) -> bool:
    """Whether the saved rows have the places of a model, and the trainable ones are among the variables to be trained.

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


def _report_by_order(saved: list[dict[str, Any]], rows: Sequence["Row"]) -> str:
    """What matches and what does not where only the order tells: as few differences as possible."""
    if len(saved) * len(rows) > MAX_WORK:
        return report("plan", 0, [counted(len(saved), "variable")], [counted(len(rows), "variable")], [])
    was = [(row["variable"], tuple(row["shape"])) for row in saved]
    now = [(short_name(row.variable), row.shape) for row in rows]
    matched, missing, new, reshaped = 0, [], [], []
    for what, i, end, j, stop in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if what == "equal":
            matched += end - i
        elif [name for name, _ in was[i:end]] == [name for name, _ in now[j:stop]]:
            reshaped += [f"{saved[i + k]['path']} was {was[i + k][1]}, is {now[j + k][1]}" for k in range(end - i)]
        else:
            missing += [row["path"] for row in saved[i:end]]
            new += [row.path for row in rows[j:stop]]
    return report("plan", matched, missing, new, reshaped)


def bound_row(saved: dict[str, Any], known: "Row") -> "Row":
    """A saved row for the variable of `known`; what the user has frozen since stays frozen, as in a new plan.

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
        decided={str(axis): str(who) for axis, who in saved["decided"].items()},
        name=saved["name"],
        schedule_start=saved["schedule_start"],
        hyperparameters=hyperparameters.from_json(saved.get("hyperparameters", {})),
        min_learning_rate=float(saved.get("min_learning_rate", 0.0)),
    )
    return row.frozen_because(BY_USER) if known.decided.get("frozen") == BY_USER else row


def _named(row: "Row", saved: dict[str, Any]) -> "Row":
    return dataclasses.replace(row, path=saved["path"], place=saved["place"])


def _align(saved: list[dict[str, Any]], variables: Sequence[Any]) -> list[int | None] | None:
    """For each row the position of its variable, `None` where it is absent; or `None` if there is no one way."""
    absent = len(saved) - len(variables)
    if absent < 0:
        return None
    fits = [
        [
            0 <= row_number - skipped < len(variables) and _fits(row, variables[row_number - skipped])
            for skipped in range(absent + 1)
        ]
        for row_number, row in enumerate(saved)
    ]
    optional = [row["frozen"] for row in saved]
    # possible[i][s]: the rows from i on fit the variables from i - s on.
    possible = [[False] * (absent + 2) for _ in range(len(saved) + 1)]
    possible[len(saved)][absent] = True
    for i in reversed(range(len(saved))):
        for s in range(absent + 1):
            possible[i][s] = (fits[i][s] and possible[i + 1][s]) or (optional[i] and possible[i + 1][s + 1])
    if not possible[0][0]:
        return None
    # reached: the numbers of rows skipped on some way here. That a trainable row has one place matters; which of two frozen
    # rows is absent hardly does: it is rather that of a layer frozen as a whole.
    places: list[int | None] = []
    reached, skipped = {0}, 0
    for i in range(len(saved)):
        takes = {s for s in reached if fits[i][s] and possible[i + 1][s]}
        skips = {s for s in reached if optional[i] and possible[i + 1][s + 1]}
        if not optional[i] and len(takes) > 1:
            return None
        skip = skipped in skips and (skipped not in takes or saved[i]["keeps_statistics"])
        places.append(None if skip else i - skipped)
        skipped += skip
        reached = takes | {s + 1 for s in skips}
    return places


def _fits(row: dict[str, Any], variable: Any) -> bool:
    return row["shape"] == list(variable.shape) and row["variable"] == short_name(variable)


def short_name(variable: Any) -> str:
    """Layer and variable name without counters: what survives `load_model` of `variable.path`."""
    path = getattr(variable, "path", variable.name)
    return "/".join(re.sub(r"_\d+$", "", part) for part in path.split("/")[-2:])


def report(what: str, matched: int, missing: list[str], new: list[str], reshaped: list[str]) -> str:
    """What matched and what did not, told to a user.

    Args:
        what: What was saved, such as "plan".
        matched: How many variables match.
        missing: What was saved and is not in the model.
        new: What is in the model and was not saved.
        reshaped: What has another shape.
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
        "Make a new plan for the changed model, difflr.Plan(model, rules). A saved model loads with `compile=False`, also "
        "where a layer was set to `trainable = False` after it was trained."
    )
    return "\n".join(parts)


def mark_frozen(model: keras.Layer, config: dict[str, Any]) -> None:
    """Marks in a loaded model what a plan froze: a file holds that a layer is not trainable, not who decided it.

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
