"""A run as plain data: what a report holds, and what a later report compares with."""

import contextlib
import datetime
import importlib
import importlib.metadata
import json
import math
import platform
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr.checks import wrong_type
from difflr.optimizers.unwrap import inner
from difflr.phases.table import who_and_how
from difflr.report.logs import Log
from difflr.report.run import Run

FORMAT = "difflr run 1"
DIGITS = 6

Record = dict[str, Any]


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
    for name, is_valid in _PARTS.items():
        if not is_valid(record.get(name)):
            raise ValueError(f"its '{name}' is missing or invalid.")
    if any(len(values) != len(record["epochs"]) for values in record["history"].values()):
        raise ValueError("its 'history' must have one value for each epoch.")
    return record


_Check = Callable[[Any], bool]


def _is_value(value: object) -> bool:
    return value in ("inf", "-inf") if isinstance(value, str) else value is None or _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e308


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_mapping_to(is_valid: _Check) -> _Check:
    return lambda value: isinstance(value, dict) and all(map(is_valid, value.values()))


def _is_list_of(is_valid: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(is_valid, value))


_PARTS: dict[str, _Check] = {
    "title": _is_text,
    "notes": _is_text,
    "time": _is_text,
    "model": lambda value: isinstance(value, dict) and all(_is_number(value.get(n)) for n in ("trained", "frozen")),
    "plan": _is_mapping_to(_is_number),
    "phases": _is_list_of(_is_list_of(_is_text)),
    "epochs": lambda value: bool(value) and _is_list_of(_is_number)(value),
    "history": _is_mapping_to(_is_list_of(_is_value)),
    "settings": _is_mapping_to(lambda value: isinstance(value, (str, bool)) or _is_value(value)),
    "versions": _is_mapping_to(_is_text),
}
