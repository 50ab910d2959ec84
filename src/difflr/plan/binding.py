"""Plans as data, and data bound to variables again: by layer-tree path, or by the order Keras saves them in.

A plan is saved row by row, never as rules: rules may hold layers and functions. Binding never guesses: what does not
fit one row to one variable raises, with a report of what matched and what did not.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras

from difflr.plan.rule import checked_multiplier

if TYPE_CHECKING:
    from difflr.plan.plan import Plan, Row

FORMAT = "difflr plan 1"
MAX_CHARACTERS = 100_000_000


def schedule_to_json(schedule: Any) -> dict[str, Any]:
    """A schedule as plain data."""
    return keras.saving.serialize_keras_object(schedule)


def schedule_from_json(config: Any) -> Any:
    """The schedule that `schedule_to_json` wrote; nothing else is built from it.

    Raises:
        ValueError: If it is no schedule.
    """
    schedule = keras.saving.deserialize_keras_object(config, safe_mode=True)
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        raise ValueError(f"A plan's schedule must be a LearningRateSchedule. Received: {config!r}")
    return schedule


def to_config(plan: "Plan", current: Callable[["Row"], float] | None = None) -> dict[str, Any]:
    """The plan as plain data.

    Args:
        plan: The plan.
        current: Function row -> multiplier, where an optimizer has newer values than the plan.
    """
    return {
        "format": FORMAT,
        "frozen_statistics": plan.frozen_statistics,
        "rows": [
            {
                "path": row.path,
                "variable": getattr(row.variable, "path", row.variable.name),
                "shape": list(row.shape),
                "multiplier": row.multiplier if current is None or row.frozen else current(row),
                "weight_decay_multiplier": row.weight_decay_multiplier,
                "schedule": None if row.schedule is None else schedule_to_json(row.schedule),
                "frozen": row.frozen,
                "keeps_statistics": any(row.layer is layer for layer in plan.kept_statistics()),
                "decided": row.decided,
            }
            for row in plan.rows
        ],
    }


def read_json(text: str) -> dict[str, Any]:
    """The data in a plan's JSON text, checked.

    Raises:
        ValueError: If it is not a plan.
    """
    if not isinstance(text, str):
        raise TypeError(f"A plan's JSON is text. Received: {text!r} (of type {type(text).__name__}).")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"The text has {len(text)} characters; a plan has at most {MAX_CHARACTERS}.")
    try:
        config = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"This is not the JSON text of a plan: {error}") from None
    check_config(config)
    return config


def check_config(config: Any) -> None:
    """Checks that `config` is what `to_config` returns.

    Raises:
        ValueError: If it is not; the message names the row and the field.
    """
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        found = config.get("format") if isinstance(config, dict) else type(config).__name__
        raise ValueError(f"This is not a plan of difflr: expected the format '{FORMAT}'. Received: {found!r}.")
    rows = config.get("rows")
    if not isinstance(rows, list) or config.get("frozen_statistics") not in ("keep", "update"):
        raise ValueError("The plan has no list 'rows', or 'frozen_statistics' is neither 'keep' nor 'update'.")
    for number, row in enumerate(rows):
        for field, kinds in _FIELDS.items():
            if not isinstance(row, dict) or not isinstance(row.get(field), kinds):
                received = row.get(field) if isinstance(row, dict) else row
                raise ValueError(f"Row {number} of the plan has no valid '{field}'. Received: {received!r}.")
        for field in ("multiplier", "weight_decay_multiplier"):
            checked_multiplier(row[field], f"row {number} ({row['path']}): {field}")


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
    fits = [path for path, row in there.items() if path in saved and saved[path]["shape"] == list(row.shape)]
    if len(fits) != len(saved) or len(fits) != len(there):
        reshaped = [
            f"{path} was {tuple(saved[path]['shape'])}, is {there[path].shape}"
            for path in there
            if path in saved and path not in fits
        ]
        raise ValueError(
            _report(
                len(fits),
                [path for path in saved if path not in there],
                [path for path in there if path not in saved],
                reshaped,
            )
        )
    rows = [_bound(saved[row.path], row.variable, row) for row in fresh.rows]
    kept = [layer for layer in fresh._statistics_layers if not layer.trainable]
    return from_rows(rows, kept, config["frozen_statistics"])


def bind_to_variables(config: dict[str, Any], variables: Sequence[Any], from_rows: Callable[..., "Plan"]) -> "Plan":
    """Binds saved rows to the variables of a loaded model, in order, as Keras does with the optimizer's state.

    Names are compared as far as they survive loading (layer and variable name, without counters), and shapes. Frozen
    rows may be absent: Keras does not list the variables of layers that were saved as not trainable.

    Args:
        config: What `to_config` returned.
        variables: The variables that Keras builds the optimizer with.
        from_rows: `Plan._from_rows`.

    Raises:
        ValueError: If rows and variables do not fit, or fit in more than one way.
    """
    saved = config["rows"]
    places = _align(saved, variables)
    if places is None:
        names = [_tail(variable) for variable in variables]
        tails = [_tail(row["variable"]) for row in saved]
        missing = [row["path"] for row, tail in zip(saved, tails, strict=True) if tail not in names]
        new = [str(getattr(v, "path", v.name)) for v, name in zip(variables, names, strict=True) if name not in tails]
        shapes = dict(zip(tails, (tuple(row["shape"]) for row in saved), strict=True))
        reshaped = [
            f"{name} was {shapes[name]}, is {tuple(variable.shape)}"
            for variable, name in zip(variables, names, strict=True)
            if name in shapes and tails.count(name) == 1 and shapes[name] != tuple(variable.shape)
        ]
        raise ValueError(_report(len(saved) - len(missing) - len(reshaped), missing, new, reshaped))
    rows = [_bound(row, variables[place], None) for row, place in zip(saved, places, strict=True) if place is not None]
    return from_rows(rows, [], config["frozen_statistics"])


def _bound(saved: dict[str, Any], variable: Any, known: "Row | None") -> "Row":
    from difflr.plan.plan import Row

    return Row(
        path=saved["path"],
        variable=variable,
        multiplier=float(saved["multiplier"]),
        weight_decay_multiplier=float(saved["weight_decay_multiplier"]),
        schedule=None if saved["schedule"] is None else schedule_from_json(saved["schedule"]),
        frozen=saved["frozen"],
        decided={str(axis): str(who) for axis, who in saved["decided"].items()},
        aliases=known.aliases if known else (),
        layer=known.layer if known else None,
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
    places: list[int | None] = []
    skipped = 0
    for i in range(len(saved)):
        take = fits[i][skipped] and possible[i + 1][skipped]
        skip = optional[i] and possible[i + 1][skipped + 1]
        if take and skip and not _frozen_run(saved, i):
            return None
        places.append(i - skipped if take else None)
        skipped += not take
    return places


def _frozen_run(saved: list[dict[str, Any]], start: int) -> bool:
    """Whether all rows that look like row `start` are frozen, so that it does not matter which is which."""
    tail = _tail(saved[start]["variable"])
    return all(row["frozen"] for row in saved if _tail(row["variable"]) == tail)


def _fits(row: dict[str, Any], variable: Any) -> bool:
    return row["shape"] == list(variable.shape) and _tail(row["variable"]) == _tail(variable)


def _tail(variable: Any) -> str:
    """Layer and variable name without counters: what survives `load_model` of `variable.path`."""
    path = variable if isinstance(variable, str) else getattr(variable, "path", variable.name)
    return "/".join(re.sub(r"_\d+$", "", part) for part in path.split("/")[-2:])


def _report(matched: int, missing: list[str], new: list[str], reshaped: list[str]) -> str:
    parts = [f"The saved plan does not fit this model. {matched} variables match."]
    for title, names in (
        ("In the plan but not in the model", missing),
        ("In the model but not in the plan", new),
        ("Other shapes", reshaped),
    ):
        if names:
            more = f", ... ({len(names)} in all)" if len(names) > 8 else ""
            parts.append(f"{title}: {', '.join(names[:8])}{more}.")
    if len(parts) == 1:
        parts.append("The same names come in another order or number.")
    parts.append("Make a new plan for the changed model: difflr.Plan(model, rules).")
    return "\n".join(parts)
