"""What a training logged, as numbers: from a `History`, a dict, or the file of a `CSVLogger`."""

import ast
import csv
import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import keras
import numpy as np

from difflr.checks import did_you_mean, wrong_type
from difflr.text_table import counted

MEASURES = {
    "learning_rate": "learning rate",
    "update_ratio": "update to weight ratio",
    "gradient_norm": "gradient norm",
}
PHASE = "phase"
HOW = "Pass the callback difflr.GroupLogger(): model.fit(..., callbacks=[difflr.GroupLogger()])."

AnyHistory: TypeAlias = keras.callbacks.History | Mapping[str, Sequence[float]] | str | os.PathLike[str]


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
        return {name.removeprefix(start): values for name, values in self.values.items() if name.startswith(start)}

    @property
    def measures(self) -> list[str]:
        """The measures that were logged for each group."""
        return [measure for measure in MEASURES if self.groups(measure)]

    @property
    def metrics(self) -> list[str]:
        """The loss and the metrics, without those of the validation, of the groups, and the phase."""
        names = [name for name in self.values if name.split("/")[0] not in (*MEASURES, PHASE)]
        return [name for name in names if not (name.startswith("val_") and name.removeprefix("val_") in names)]

    @property
    def phases(self) -> list[int]:
        """The number of the phase, from 1, in each epoch; empty where it was not logged for all of them."""
        numbers = self.values.get(PHASE, np.array([math.nan]))
        return [] if np.isnan(numbers).any() else [int(number) for number in numbers]


def log_of(history: AnyHistory) -> Log:
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
        lists = getattr(history, "history", history)
        if not isinstance(lists, Mapping):
            expected = "what `fit` returned, a mapping such as {'loss': [0.9, 0.7]}, or the path of a file of CSVLogger"
            raise wrong_type("`history`", expected, history)
        epochs = [int(epoch) + 1 for epoch in getattr(history, "epoch", None) or ()]
        values = {str(name): _numbers(name, numbers) for name, numbers in lists.items()}
    longest = max(map(len, values.values()), default=0)
    if not longest:
        raise ValueError("The history is empty: `fit` has not ended an epoch yet.")
    epochs = epochs if len(epochs) >= longest else list(range(1, longest + 1))
    spread = {name: _spread(name, numbers, len(epochs)) for name, numbers in values.items()}
    return Log(epochs, {name: numbers for name, numbers in spread.items() if not np.isnan(numbers).all()})


def _numbers(name: object, values: object) -> list[float]:
    if isinstance(values, str) or not isinstance(values, (Sequence, np.ndarray)):
        raise ValueError(f"The history's '{name}' must be a list with a number for each epoch. Received: {values!r}.")
    try:
        return [float(np.asarray(value).mean()) for value in values]  # a metric may be a vector, such as F1 by class
    except (TypeError, ValueError):
        raise ValueError(f"The history's '{name}' must hold numbers only. Received: {values!r}.") from None


def _spread(name: str, values: Sequence[float], length: int) -> np.ndarray:
    """The values at their epochs: with `validation_freq=2` there is one for every second epoch."""
    if len(values) == length:
        return np.array(values, "float64")
    every = length // len(values) if len(values) else 1
    if values and length // every != len(values):
        raise ValueError(
            f"The history has {counted(length, 'epoch')} and {counted(len(values), 'value')} of '{name}': it is not known "
            "to which epochs they belong."
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


def lines_of(log: Log, measure: Any) -> tuple[dict[str, np.ndarray], str]:
    """The lines of a measure, and what they are.

    Args:
        log: The log.
        measure: `"learning_rate"`, `"update_ratio"` or `"gradient_norm"`, for each group; or the name of a metric.

    Raises:
        ValueError: If it is not in the log; the message lists what is.
    """
    available = f"It has: {', '.join([*log.measures, *log.metrics])}."
    if not isinstance(measure, str):
        raise ValueError(f"`measure` must be a name. Received: {measure!r}. {available}")
    if log.groups(measure):
        return log.groups(measure), MEASURES.get(measure, measure)
    if f"val_{measure}" in log.values and measure in log.values:
        return {"training": log.values[measure], "validation": log.values[f"val_{measure}"]}, measure
    if measure in log.values:
        return {measure: log.values[measure]}, measure
    if measure in MEASURES and not log.measures:
        raise ValueError(f"The history has no '{measure}' of groups. {HOW} {available}")
    hint = did_you_mean(measure, [*log.measures, *log.metrics], 1, 0.4)
    raise ValueError(f"The history has no '{measure}'.{hint} {available}")
