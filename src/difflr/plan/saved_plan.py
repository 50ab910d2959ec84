"""Plans as data, and data bound to variables again: by layer-tree path, or by the order Keras saves them in.

A plan is saved row by row, never as rules: rules may hold layers and functions. Binding never guesses: what does not
fit one row to one variable raises, with a report of what matched and what did not.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from difflr import checks
from difflr.checks import checked_multiplier, listed, shown
from difflr.plan.group_names import check_group_name
from difflr.plan.rule import AXES
from difflr.plan.schedule_json import check_schedule, schedule_from_json, schedule_to_json

if TYPE_CHECKING:
    from difflr.plan.plan import Plan
    from difflr.plan.rows import Row

FORMAT = "difflr plan 1"
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
                "variable": short_name(row.variable),
                "shape": list(row.shape),
                "multiplier": row.multiplier,
                "weight_decay_multiplier": row.weight_decay_multiplier,
                "schedule": None if row.schedule is None else schedule_to_json(row.schedule),
                "frozen": row.frozen,
                "keeps_statistics": id(row.layer) in keeping,
                "decided": row.decided,
                **({"name": row.name} if row.name else {}),
            }
            for row in plan.rows
        ],
        "statistics": [
            {"path": each.path, "frozen": each.frozen, "by_user": each.by_user} for each in plan._statistics
        ],
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


def check_config(config: Any) -> None:
    """Checks that `config` is what `to_config` returns.

    Raises:
        ValueError: If it is not; the message names the row and the field.
    """
    from difflr.plan.rows import BY_USER

    checks.check(config, "The plan")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"This is not a plan of difflr: expected the format '{FORMAT}'. Received: {shown(found)}.")
    rows = config.get("rows")
    statistics = config.get("statistics")
    if not isinstance(rows, list) or not isinstance(statistics, list):
        raise ValueError("The plan has no list 'rows' or no list 'statistics'.")
    if config.get("frozen_statistics") not in ("keep", "update"):
        raise ValueError(
            "The plan's 'frozen_statistics' is neither 'keep' nor 'update'. "
            f"Received: {shown(config.get('frozen_statistics'))}."
        )
    checks.check_fields(config, ("format", "frozen_statistics", "rows", "statistics"), "The plan")
    seen: set[str] = set()
    kinds_of_entries: Any = (
        ("Row", rows, _FIELDS, ("name",)),
        ("Entry of 'statistics'", statistics, _STATISTICS_FIELDS, ()),
    )
    for title, entries, fields, optional in kinds_of_entries:
        for number, entry in enumerate(entries):
            for field, kinds in fields.items():
                if not isinstance(entry, dict) or not isinstance(entry.get(field, ...), kinds):
                    received = entry.get(field) if isinstance(entry, dict) else entry
                    raise ValueError(
                        f"{title} {number} of the plan has no valid '{field}'. Received: {shown(received)}."
                    )
            checks.check_fields(entry, (*fields, *optional), f"{title} {number} of the plan ({entry['path'][:100]})")
            if entry["path"] in seen:
                raise ValueError(
                    f"{title} {number} of the plan says for the second time what {shown(entry['path'])} gets."
                )
            seen.add(entry["path"])
    for number, row in enumerate(rows):
        where = f"Row {number} of the plan ({row['path'][:100]})"
        for field in ("multiplier", "weight_decay_multiplier"):
            checked_multiplier(row[field], f"row {number} ({row['path'][:100]}): {field}")
        if not all(isinstance(size, int) and size >= 0 for size in row["shape"]):
            raise ValueError(f"Row {number} of the plan has no valid 'shape'. Received: {shown(row['shape'])}.")
        if "name" in row:
            check_group_name(row["name"])
        if not all(isinstance(who, str) for who in row["decided"].values()):
            raise ValueError(f"Row {number} of the plan has no valid 'decided'. Received: {shown(row['decided'])}.")
        if row["frozen"] != (row["multiplier"] == 0):
            raise ValueError(
                f"{where} contradicts itself: frozen is {row['frozen']}, the multiplier is {row['multiplier']}; 0 is the "
                "same as frozen."
            )
        checks.check_fields(row["decided"], AXES, f"{where}, 'decided',")
        if not row["frozen"] and (row["keeps_statistics"] or row["decided"].get("frozen") == BY_USER):
            field = "keeps_statistics" if row["keeps_statistics"] else "decided"
            raise ValueError(
                f"{where} contradicts itself: frozen is False, and '{field}' says that it is frozen. "
                f"Received: {shown(row[field])}."
            )
    schedules = {json.dumps(row["schedule"], sort_keys=True): n for n, row in enumerate(rows) if row["schedule"]}
    for text, number in schedules.items():
        try:
            check_schedule(json.loads(text))
        except ValueError as error:
            raise ValueError(f"Row {number} of the plan ({rows[number]['path'][:100]}), schedule: {error}") from None


_STATISTICS_FIELDS: dict[str, Any] = {"path": str, "frozen": bool, "by_user": bool}
_FIELDS: dict[str, Any] = {
    "path": str,
    "variable": str,
    "shape": list,
    "multiplier": (int, float),
    "weight_decay_multiplier": (int, float),
    "schedule": (dict, type(None)),
    "frozen": bool,
    "keeps_statistics": bool,
    "decided": dict,
}


def bind_to_model(config: dict[str, Any], fresh: "Plan", from_rows: Callable[..., "Plan"]) -> "Plan":
    """Binds saved rows to a model by layer-tree path.

    Args:
        config: What `to_config` returned.
        fresh: A plan of the model without rules: its rows know the variables.
        from_rows: `Plan._from_rows`.

    Raises:
        ValueError: If the paths or shapes differ.
    """
    saved = {row["path"]: row for row in config["rows"]}
    there = {row.path: row for row in fresh.rows}
    saved_statistics = {each["path"]: each for each in config["statistics"]}
    statistics_there = {each.path: each for each in fresh._statistics}
    fits = [path for path, row in there.items() if path in saved and saved[path]["shape"] == list(row.shape)]
    if len(fits) != len(saved) or len(fits) != len(there) or saved_statistics.keys() != statistics_there.keys():
        reshaped = [
            f"{path} was {tuple(saved[path]['shape'])}, is {there[path].shape}"
            for path in there
            if path in saved and path not in fits
        ]
        raise ValueError(
            report(
                "plan",
                len(fits),
                [path for path in saved if path not in there] + list(saved_statistics.keys() - statistics_there.keys()),
                [path for path in there if path not in saved] + list(statistics_there.keys() - saved_statistics.keys()),
                reshaped,
            )
        )
    for row in fresh.rows:
        has_none = row.layer is not None and not isinstance(row.layer, keras.layers.BatchNormalization)
        if saved[row.path]["keeps_statistics"] and has_none:
            raise ValueError(
                f"The plan's row of {row.path} has 'keeps_statistics', and its layer has none: it is a "
                f"{type(row.layer).__name__}, and only BatchNormalization has moving statistics. Set it to false."
            )
    rows = [_bound(saved[row.path], row.variable, row) for row in fresh.rows]
    statistics = [
        dataclasses.replace(
            each,
            frozen=each.frozen or saved_statistics[path]["frozen"],
            by_user=each.by_user or saved_statistics[path]["by_user"],
        )
        for path, each in statistics_there.items()
    ]
    return from_rows(rows, statistics, config["frozen_statistics"])


def has_paths(config: dict[str, Any], fresh: "Plan", variables: Sequence[Any]) -> bool:
    """Whether the saved rows have the paths of a model, and the trainable ones are among the variables to be trained.

    Args:
        config: What `to_config` returned.
        fresh: A plan of the model without rules.
        variables: The variables that Keras builds the optimizer with.

    Raises:
        ValueError: If they have, but in another order: Keras would restore the optimizer's state to the wrong layers.
    """
    there = {row.path: row for row in fresh.rows}
    if {row["path"] for row in config["rows"]} != set(there):
        return False
    trainable = [row["path"] for row in config["rows"] if not row["frozen"]]
    trained = set(map(id, variables))
    if not all(id(there[path].variable) in trained for path in trainable):
        return False
    chosen = set(trainable)
    check_order(trainable, [path for path in there if path in chosen])
    return True


def check_order(saved: Sequence[str], there: Sequence[str]) -> None:
    """Checks that the variables that have a state are in the order in which they were saved.

    Args:
        saved: Their paths in the saved plan.
        there: Their paths in the model.

    Raises:
        ValueError: If the order differs: Keras would restore the optimizer's state to the wrong layers.
    """
    moved = [(was, now) for was, now in zip(saved, there, strict=True) if was != now]
    if moved:
        raise ValueError(
            f"The saved plan has the variables of this model in another order, beginning with {moved[0][0]}, where now is "
            f"{moved[0][1]}. Keras restores the optimizer's state by position, so it would go to the wrong layers: load "
            "the model with `compile=False` and compile it anew."
        )


def bind_to_variables(
    config: dict[str, Any], variables: Sequence[Any], from_rows: Callable[..., "Plan"], fresh: "Plan | None" = None
) -> "Plan":
    """Binds saved rows to the variables of a loaded model, in order, as Keras does with the optimizer's state.

    Names are compared as far as they survive loading (layer and variable name, without counters), and shapes. Frozen
    rows may be absent: Keras does not list the variables of layers that were saved as not trainable.

    Args:
        config: What `to_config` returned.
        variables: The variables that Keras builds the optimizer with.
        from_rows: `Plan._from_rows`.
        fresh: A plan of the model without rules, where it is known: names the variables in errors.

    Raises:
        ValueError: If rows and variables do not fit, or fit in more than one way.
    """
    from difflr.plan.rows import StatisticsLayer

    saved = config["rows"]
    absent = len(saved) - len(variables)
    if absent * len(saved) > MAX_WORK:
        raise ValueError(
            f"The saved plan has {len(saved)} rows and this model {len(variables)} variables that are trained: too far "
            "apart to find out which is which. Load the model with `compile=False` and make a new plan."
        )
    places = _align(saved, variables)
    if places is None:
        raise ValueError(_report_by_order(saved, variables, fresh))
    rows = [_bound(row, variables[place], None) for row, place in zip(saved, places, strict=True) if place is not None]
    statistics = [StatisticsLayer(each["path"], None, each["frozen"], each["by_user"]) for each in config["statistics"]]
    return from_rows(rows, statistics, config["frozen_statistics"])


def _report_by_order(saved: list[dict[str, Any]], variables: Sequence[Any], fresh: "Plan | None") -> str:
    """What matches and what does not where only the order tells: as few differences as possible."""
    if len(saved) * len(variables) > MAX_WORK:
        return report("plan", 0, [f"{len(saved)} variables"], [f"{len(variables)} variables"], [])
    was = [(row["variable"], tuple(row["shape"])) for row in saved]
    now = [(short_name(variable), tuple(variable.shape)) for variable in variables]
    matched, missing, new, reshaped = 0, [], [], []
    for what, i, end, j, stop in difflib.SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if what == "equal":
            matched += end - i
        elif [name for name, _ in was[i:end]] == [name for name, _ in now[j:stop]]:
            reshaped += [f"{saved[i + k]['path']} was {was[i + k][1]}, is {now[j + k][1]}" for k in range(end - i)]
        else:
            missing += [row["path"] for row in saved[i:end]]
            new += [
                str(
                    fresh.row(variable).path
                    if fresh and variable in fresh
                    else getattr(variable, "path", variable.name)
                )
                for variable in variables[j:stop]
            ]
    return report("plan", matched, missing, new, reshaped)


def _bound(saved: dict[str, Any], variable: Any, known: "Row | None") -> "Row":
    from difflr.plan.rows import BY_USER, Row

    decided = {str(axis): str(who) for axis, who in saved["decided"].items()}
    # What the user has frozen since stays frozen, as in a new plan.
    by_user = known is not None and known.decided.get("frozen") == BY_USER
    if by_user:
        decided["frozen"] = BY_USER
    return Row(
        path=saved["path"],
        variable=variable,
        multiplier=0.0 if by_user else float(saved["multiplier"]),
        weight_decay_multiplier=float(saved["weight_decay_multiplier"]),
        schedule=None if saved["schedule"] is None else schedule_from_json(saved["schedule"]),
        frozen=saved["frozen"] or by_user,
        decided=decided,
        aliases=known.aliases if known else (),
        layer=known.layer if known else None,
        name=saved.get("name", ""),
    )


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
    parts = [f"The saved {what} does not fit this model. {matched} variables match."]
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
