"""A run as plain data: what a report shows, and what a later report compares with."""

import contextlib
import datetime
import html.parser
import importlib
import json
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from difflr.report.logs import Log, log_of
from difflr.report.phase_spans import checked_phases
from difflr.report.plan_layers import as_plan

FORMAT = "difflr run 1"
BLOCK = "difflr-run"  # the id of the block in the page
MAX_BYTES = 50_000_000
DIGITS = 6


def run_record(
    plan: Any,
    history: Any,
    *,
    phases: Any = None,
    title: str | None = None,
    notes: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The record of a run, as JSON can hold it. The arguments are those of `difflr.write_report`."""
    from difflr import __version__

    model = model_of(plan, history)
    log = log_of(history)
    if settings is not None and not isinstance(settings, Mapping):
        raise TypeError(f"`settings` must be a mapping. Received: {settings!r} (of type {type(settings).__name__}).")
    told = {**settings_of(model, history), **(settings or {})}
    now = datetime.datetime.now(datetime.UTC)
    rows, backend = as_plan(plan).rows, keras.backend.backend()
    return {
        "format": FORMAT,
        "title": str(title) if title is not None else (model.name if model is not None else "Training"),
        "notes": "" if notes is None else str(notes),
        "time": now.strftime("%Y-%m-%d %H:%M UTC"),
        "model": {
            "name": "" if model is None else f"{type(model).__name__} '{model.name}'",
            "variables": len(rows),
            "trained": sum(row.num_parameters for row in rows if not row.frozen),
            "frozen": sum(row.num_parameters for row in rows if row.frozen),
        },
        "plan": {row.path: _number(row.multiplier) for row in rows},
        "phases": [] if phases is None else [[phase.who, phase.until] for phase in checked_phases(phases)],
        "epochs": log.epochs,
        "history": {name: [_number(value) for value in values] for name, values in log.values.items()},
        "settings": {str(name): _plain(value) for name, value in told.items()},
        "versions": {
            "difflr": __version__,
            "keras": keras.__version__,
            backend: importlib.import_module(backend).__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    }


def model_of(plan: Any, history: Any) -> Any:
    """The model, if one was given or the history knows it."""
    if isinstance(plan, keras.Layer):
        return plan
    model = getattr(history, "model", None)
    return model if isinstance(model, keras.Model) else None


def settings_of(model: Any, history: Any) -> dict[str, Any]:
    """What the optimizer, `compile` and `fit` were told.

    Args:
        model: The model, or `None`.
        history: What `fit` returned.
    """
    settings: dict[str, Any] = {}
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        settings["optimizer"] = type(inner).__name__
        if inner is not optimizer:
            settings["loss scaling"] = type(optimizer).__name__
        left_out = ("name", "multipliers")
        with contextlib.suppress(ValueError):  # not built, with functions as rules
            config = {name: value for name, value in inner.get_config().items() if name not in left_out}
            settings |= {name: value for name, value in config.items() if value is not None and value is not False}
        if isinstance(settings.get("learning_rate"), float):  # callbacks may have changed it
            settings["learning_rate, at the end"] = settings.pop("learning_rate")
        settings["loss"] = named(getattr(model, "loss", None))
    parameters = getattr(history, "params", None)
    if isinstance(parameters, Mapping):
        settings["epochs"] = parameters.get("epochs")
        settings["batches in an epoch"] = parameters.get("steps")
    if model is not None:
        settings["precision"] = model.dtype_policy.name
    return {name: value for name, value in settings.items() if value is not None}


def named(thing: Any) -> Any:
    """How a loss is called."""
    if thing is None or isinstance(thing, str):
        return thing
    if isinstance(thing, Mapping):
        return {str(name): named(each) for name, each in thing.items()}
    if isinstance(thing, (list, tuple)):
        return [named(each) for each in thing]
    return getattr(thing, "name", None) or getattr(thing, "__name__", type(thing).__name__)


def _plain(value: Any) -> Any:
    """A setting as a number, a boolean, or text."""
    if isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float, np.number)):
        return _number(value)
    if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
        value = {"class_name": type(value).__name__, "config": value.get_config()}
    if isinstance(value, Mapping) and set(value) >= {"class_name", "config"}:
        inside = ", ".join(f"{name}={_plain(each)}" for name, each in (value["config"] or {}).items() if name != "name")
        return f"{value['class_name']}({inside})"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_plain(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_plain(each)) for each in value)
    return str(value)


def _number(value: Any) -> Any:
    """A number as JSON can hold it, short; `None` for NaN, text for infinite."""
    value = float(f"{float(value):.{DIGITS}g}")
    if math.isnan(value):
        return None
    if math.isinf(value):
        return str(value)
    return int(value) if value == int(value) and abs(value) < 1e15 else value


def log_in(record: dict[str, Any]) -> Log:
    """The log in a record."""
    values = {name: [math.nan if v is None else float(v) for v in each] for name, each in record["history"].items()}
    return Log(list(record["epochs"]), {name: np.array(each, "float64") for name, each in values.items()})


def to_block(record: dict[str, Any]) -> str:
    """A record as JSON text that may stand inside of a page: no part of it can end the block."""
    text = json.dumps(record, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def read_report(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a run in a report that `difflr.write_report` wrote: plain data, to compare with or to compute on.

    Args:
        path: The HTML file, or a JSON file with such a record.

    Returns:
        A dict: `title`, `notes`, `time`, `model`, `plan` (path -> multiplier), `phases`, `epochs`, `history` (name ->
        list, `None` where there is no value), `settings`, `versions`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no report of difflr.

    Example:

    ```python
    import difflr

    difflr.write_report("run.html", model, {"loss": [0.9, 0.7]})
    assert difflr.read_report("run.html")["history"]["loss"] == [0.9, 0.7]
    ```
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        text = path.read_text(encoding="utf-8") if size <= MAX_BYTES else ""
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no report {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is no report of difflr: {error}") from None
    if size > MAX_BYTES:
        raise ValueError(
            f"{str(path)!r} is no report of difflr: it has {size:,} bytes, a report at most {MAX_BYTES:,}."
        )
    if not text.lstrip().startswith("{"):
        finder = _Finder()
        finder.feed(text)
        text = "".join(finder.found)
    if not text:
        raise ValueError(f"{str(path)!r} is no report of difflr: it does not hold the data of a run.")
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path)!r} is no report of difflr: its data cannot be read ({error}).") from None
    try:
        return checked_record(record)
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is no report of difflr: {error}") from None


class _Finder(html.parser.HTMLParser):
    """Finds the block with the record."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script" and dict(attrs).get("id") == BLOCK

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found.append(data)


def checked_record(record: Any) -> dict[str, Any]:
    """`record`, if it is what `run_record` returns.

    Raises:
        ValueError: If it is not; the message names the part.
    """
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else type(record).__name__
        raise ValueError(f"expected the format '{FORMAT}', received {str(found)[:100]!r}.")
    for name, is_right in _PARTS.items():
        if not is_right(record.get(name)):
            raise ValueError(f"its '{name}' is missing or not of its kind.")
    if any(len(values) != len(record["epochs"]) for values in record["history"].values()):
        raise ValueError("its 'history' has not one value for each epoch.")
    return record


def _is_value(value: Any) -> bool:
    return value in ("inf", "-inf") if isinstance(value, str) else value is None or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e308


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_mapping_to(is_right: Any) -> Any:
    return lambda value: isinstance(value, dict) and all(map(is_right, value.values()))


def _is_list_of(is_right: Any) -> Any:
    return lambda value: isinstance(value, list) and all(map(is_right, value))


_PARTS: dict[str, Any] = {
    "title": _is_text,
    "notes": _is_text,
    "time": _is_text,
    "model": lambda value: isinstance(value, dict) and all(_is_number(value.get(n)) for n in ("trained", "frozen")),
    "plan": _is_mapping_to(_is_number),
    "phases": _is_list_of(_is_list_of(_is_text)),
    "epochs": lambda value: isinstance(value, list) and bool(value) and all(map(_is_number, value)),
    "history": _is_mapping_to(_is_list_of(_is_value)),
    "settings": _is_mapping_to(lambda value: isinstance(value, (str, bool)) or _is_value(value)),
    "versions": _is_mapping_to(_is_text),
}
