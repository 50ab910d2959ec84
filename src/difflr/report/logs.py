"""What a training logged, as numbers: from a `History`, a dict, or the file of a `CSVLogger`."""

import ast
import csv
import dataclasses
import difflib
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEASURES = {
    "learning_rate": "learning rate",
    "update_ratio": "update to weight ratio",
    "gradient_norm": "gradient norm",
}
HOW = "Give `fit` the callback difflr.GroupLogger(): model.fit(..., callbacks=[difflr.GroupLogger()])."


@dataclasses.dataclass(frozen=True)
class Log:
    """The values of a training, epoch by epoch.

    Args:
        epochs: List of integers, counted from 1.
        values: Name -> one float for each epoch, NaN where there is none.
    """

    epochs: list[int]
    values: dict[str, np.ndarray]

    def groups(self, measure: str) -> dict[str, np.ndarray]:
        """Group -> values of a measure that was logged for each group of the plan."""
        start = f"{measure}/"
        return {name.removeprefix(start): each for name, each in self.values.items() if name.startswith(start)}

    @property
    def measures(self) -> list[str]:
        """The measures that were logged for each group."""
        return [measure for measure in MEASURES if self.groups(measure)]

    @property
    def metrics(self) -> list[str]:
        """The loss and the metrics, without those of the validation and the groups."""
        names = [name for name in self.values if name.split("/")[0] not in MEASURES]
        return [name for name in names if not (name.startswith("val_") and name.removeprefix("val_") in names)]


def log_of(history: Any) -> Log:
    """The log.

    Args:
        history: What `fit` returned, a mapping from names to lists, or the path of a file that
            `keras.callbacks.CSVLogger` wrote.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is empty, or holds no numbers.
    """
    if isinstance(history, (str, os.PathLike)):
        epochs, values = _from_file(Path(history))
    else:
        values = getattr(history, "history", history)
        if not isinstance(values, Mapping):
            raise TypeError(
                "`history` must be what `fit` returned, a mapping such as {'loss': [0.9, 0.7]}, or the path of a file of "
                f"keras.callbacks.CSVLogger. Received: {history!r} (of type {type(history).__name__})."
            )
        epochs = [int(epoch) + 1 for epoch in getattr(history, "epoch", None) or ()]
        values = {str(name): _numbers(name, each) for name, each in values.items()}
    longest = max(map(len, values.values()), default=0)
    if not longest:
        raise ValueError("The history is empty: `fit` has not ended an epoch yet.")
    epochs = epochs if len(epochs) >= longest else list(range(1, longest + 1))
    spread = {name: _spread(name, each, len(epochs)) for name, each in values.items()}
    return Log(epochs, {name: each for name, each in spread.items() if not np.isnan(each).all()})


def _numbers(name: Any, values: Any) -> list[float]:
    if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
        raise ValueError(f"The history's '{name}' must be a list with a number for each epoch. Received: {values!r}.")
    try:
        return [float(np.asarray(value).mean()) for value in values]  # a metric may be a vector, such as F1 by class
    except (TypeError, ValueError):
        raise ValueError(f"The history's '{name}' holds what is no number. Received: {values!r}.") from None


def _spread(name: str, values: Sequence[float], length: int) -> np.ndarray:
    """The values at their epochs: with `validation_freq=2` there is one for every second."""
    if len(values) == length:
        return np.array(values, "float64")
    every = length // len(values) if len(values) else 1
    if values and length // every != len(values):
        raise ValueError(
            f"The history has {length} epochs and {len(values)} values of '{name}', and does not tell to which epochs "
            "they belong."
        )
    spread = np.full(length, math.nan)
    spread[every - 1 :: every][: len(values)] = values
    return spread


def _from_file(path: Path) -> tuple[list[int], dict[str, list[float]]]:
    """Epochs and values in a file of a `CSVLogger`, with any separator."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            first = file.readline()
            separator = first[5] if first.startswith("epoch") and len(first) > 6 else ","
            file.seek(0)
            rows = list(csv.DictReader(file, delimiter=separator))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {str(path)!r}.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{str(path)!r} cannot be read as a log of keras.callbacks.CSVLogger: {error}") from None
    if not rows or "epoch" not in rows[0]:
        raise ValueError(f"{str(path)!r} is no log of keras.callbacks.CSVLogger: its first column must be 'epoch'.")
    rows = [row for row in rows if row["epoch"] != "epoch"]  # with append=True the header can be there again
    names = [name for name in rows[0] if name not in (None, "epoch")]
    try:
        epochs = [int(row["epoch"]) + 1 for row in rows]
        return epochs, {name: [_cell(row[name]) for row in rows] for name in names}
    except (SyntaxError, TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is no log of keras.callbacks.CSVLogger: {error}") from None


def _cell(text: str | None) -> float:
    """The number in a cell; the mean of a list."""
    if text in (None, "", "NA"):
        return math.nan
    text = str(text).strip('"')
    return float(np.mean(ast.literal_eval(text))) if text.startswith("[") else float(text)


def chosen(log: Log, measure: str) -> tuple[dict[str, np.ndarray], str]:
    """The lines of a measure, and what they are.

    Args:
        log: The log.
        measure: `"learning_rate"`, `"update_ratio"` or `"gradient_norm"`, for each group; or the name of a metric.

    Raises:
        ValueError: If it is not in the log; the message has what is.
    """
    if not isinstance(measure, str):
        raise ValueError(f"`measure` must be a name. Received: {measure!r}. {_there(log)}")
    if log.groups(measure):  # what is frozen in a phase was logged as 0
        groups = {name: np.where(values > 0, values, np.nan) for name, values in log.groups(measure).items()}
        return groups, MEASURES.get(measure, measure)
    if measure in log.values:
        lines = {measure: log.values[measure]}
        if f"val_{measure}" in log.values:
            lines["validation"] = log.values[f"val_{measure}"]
            lines = {"training": lines.pop(measure), **lines}
        return lines, measure
    if measure in MEASURES and not log.measures:
        raise ValueError(f"The history has no '{measure}' of groups. {HOW} {_there(log)}")
    close = difflib.get_close_matches(measure, [*log.measures, *log.metrics], n=1, cutoff=0.4)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ValueError(f"The history has no '{measure}'.{hint} {_there(log)}")


def _there(log: Log) -> str:
    return f"It has: {', '.join([*log.measures, *log.metrics])}."
