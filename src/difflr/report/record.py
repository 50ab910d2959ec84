"""A run as plain data: what a report holds, and what a later report compares with."""

import contextlib
import datetime
import importlib
import importlib.metadata
import json
import math
import platform
import warnings
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr.checks import check, check_record, wrong_type
from difflr.optimizers.unwrap import inner
from difflr.phases.table import who_and_how
from difflr.report.logs import Log
from difflr.report.run import Run

FORMAT = "difflr run 1"
DIGITS = 6

Record = dict[str, Any]
# Part -> its type.
PARTS: dict[str, Any] = {
    "format": str,
    "title": str,
    "notes": str,
    "time": str,
    "model": dict,
    "plan": dict[str, float],
    "phases": list[list[str]],
    "epochs": list[float],
    "history": dict[str, list[float | str | None]],
    "settings": dict[str, float | str | bool | None],
    "versions": dict[str, str],
}
MODEL = {"name": str, "variables": int, "trained": int, "frozen": int}
INFINITE = ("inf", "-inf")


def record_of(run: Run, title: str | None, notes: str | None, settings: Mapping[str, Any] | None) -> Record:
    """The record of a run, as JSON can hold it.

    Args:
        run: The run.
        title: As for `difflr.write_report`.
        notes: As there.
        settings: As there.

    Raises:
        TypeError: If the settings are no mapping.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise wrong_type("`settings`", "a mapping", settings)
    model, rows, backend = run.model, run.plan.rows, keras.backend.backend()
    return {
        "format": FORMAT,
        "title": str(title) if title is not None else (model.name if model is not None else "Training"),
        "notes": "" if notes is None else str(notes),
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "model": {
            "name": "" if model is None else f"{type(model).__name__} '{model.name}'",
            "variables": len(rows),
            "trained": sum(row.num_parameters for row in rows if not row.frozen),
            "frozen": sum(row.num_parameters for row in rows if row.frozen),
        },
        "plan": {row.path: _number(row.multiplier) for row in rows},
        "phases": [[who_and_how(phase), phase.ends] for phase in run.phases or ()],
        "epochs": run.log.epochs,
        "history": {name: [_number(value) for value in values] for name, values in run.log.values.items()},
        "settings": {str(name): _plain(value) for name, value in {**_settings_of(run), **(settings or {})}.items()},
        "versions": {
            "difflr": importlib.metadata.version("difflr"),
            "keras": keras.__version__,
            backend: importlib.import_module(backend).__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def _settings_of(run: Run) -> dict[str, Any]:
    """The settings of the optimizer, of `compile` and of `fit`."""
    settings: dict[str, Any] = {}
    optimizer, unwrapped = run.optimizer, inner(run.optimizer)
    if unwrapped is not None:
        settings["optimizer"] = type(unwrapped).__name__
        settings["loss scaling"] = None if unwrapped is optimizer else type(optimizer).__name__
        # A config that cannot be saved, as of functions that are rules, is an error or a warning.
        with contextlib.suppress(ValueError), warnings.catch_warnings(action="ignore"):
            settings |= {name: v for name, v in unwrapped.get_config().items() if name not in ("name", "multipliers")}
        if isinstance(settings.get("learning_rate"), float):  # callbacks may have changed it
            settings["learning_rate, at the end"] = settings.pop("learning_rate")
        settings["loss"] = _name_of_loss(getattr(run.model, "loss", None))
    settings["epochs"] = run.fit.get("epochs")
    settings["batches in an epoch"] = run.steps_per_epoch
    if run.model is not None:
        settings["precision"] = run.model.dtype_policy.name
    return {name: value for name, value in settings.items() if value is not None and value is not False}


def _name_of_loss(loss: Any) -> Any:
    if loss is None or isinstance(loss, str):
        return loss
    if isinstance(loss, Mapping):
        return {str(name): _name_of_loss(part) for name, part in loss.items()}
    if isinstance(loss, (list, tuple)):
        return [_name_of_loss(part) for part in loss]
    return getattr(loss, "name", None) or getattr(loss, "__name__", type(loss).__name__)


def _plain(value: Any) -> Any:
    """A setting as a number, a boolean, or text."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float, np.number)):
        return _number(value)
    if isinstance(value, LearningRateSchedule):
        value = {"class_name": type(value).__name__, "config": value.get_config()}
    if isinstance(value, Mapping) and set(value) >= {"class_name", "config"}:
        config = (value["config"] or {}).items()
        return f"{value['class_name']}({', '.join(f'{name}={_plain(v)}' for name, v in config if name != 'name')})"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(v)}" for name, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_plain(v)) for v in value)
    return str(value)


def _number(value: float | np.number[Any]) -> int | float | str | None:
    """A number as JSON can hold it, short; `None` for NaN, text for infinite."""
    number = float(f"{float(value):.{DIGITS}g}")
    if math.isnan(number):
        return None
    if math.isinf(number):
        return str(number)
    return int(number) if number == int(number) and abs(number) < 1e15 else number


def log_in(record: Record) -> Log:
    """The log in a record."""
    values = {
        name: np.array([math.nan if value is None else float(value) for value in numbers], "float64")
        for name, numbers in record["history"].items()
    }
    return Log(list(record["epochs"]), values)


def to_block(record: Record) -> str:
    """A record as JSON text that can be embedded in a page: no part of it can end the block."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def checked_record(record: object) -> Record:
    """`record`, if it is what `record_of` returns.

    Raises:
        ValueError: If it is not; the message names the part.
    """
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"expected the format '{FORMAT}', received {str(found)[:100]!r}.")
    check_record(check(record, "the record"), PARTS, "the record")
    check_record(record["model"], MODEL, "the record's 'model'")
    epochs, history = record["epochs"], record["history"].values()
    texts = {value for values in history for value in values if isinstance(value, str)}
    if not epochs or any(len(values) != len(epochs) for values in history) or not texts <= set(INFINITE):
        raise ValueError("'history' must have a number for each of its 'epochs', of which there is at least one.")
    return record
