"""The progress of a run: bars on a terminal, and a line for each epoch."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

MEASURES = {"loss": "loss", "accuracy": "accuracy", "f1": "F1", "mae": "off by"}
NAMES = MEASURES | {f"val_{name}": f"val. {title}" for name, title in MEASURES.items()}


class NotFinite(RuntimeError):
    """The loss is no number any more."""


@contextlib.contextmanager
def reading(console: Console, what: str = "pictures", doing: str = "reading") -> Iterator[Callable[[int, int], None]]:
    """A bar for the pictures that are read.

    Args:
        console: Where to.
        what: What is counted.
        doing: What is done to it.

    Yields:
        A function to be called with how many are read, and how many there are.
    """
    with Progress(*_columns(what), console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


def _columns(what: str) -> tuple[ProgressColumn, ...]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(what))
    return (*columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())


class ShowProgress(keras.callbacks.Callback):
    """A bar for the batches of the epoch, and a line when it is over.

    Args:
        console: Where to.
        epochs: How many there are in all.
        freeze_epochs: In how many of them, the first, only the head trains.
    """

    def __init__(self, console: Console, epochs: int, freeze_epochs: int):
        super().__init__()
        self._console, self._epochs, self._freeze_epochs = console, epochs, freeze_epochs
        self._columns: list[str] = []
        self._bar: Progress | None = None
        self.epoch: int | None = None  # that is under way, from 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins a bar."""
        self.epoch, self._start = epoch, time.perf_counter()
        if not self._console.is_terminal:
            return
        self._bar = Progress(*_columns("batches"), console=self._console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(f"epoch {epoch + 1} of {self._epochs}", total=self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=batch + 1)

    def on_test_begin(self, logs: Any = None) -> None:
        """Says that it validates."""
        if self._bar is not None:
            self._bar.update(self._task, description="validating")

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the epoch's line.

        Raises:
            NotFinite: If the loss is NaN or infinite.
        """
        self.close()
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            raise NotFinite(f"the loss became {logs['loss']} in epoch {epoch + 1}: try a smaller --learning-rate")
        if not self._columns:
            self._columns = [name for name in NAMES if name in logs]
            titles = "".join(f"{NAMES[name]:>14}" for name in self._columns)
            self._console.print(f"{'epoch':<7}{'trains':<7}{titles}{'seconds':>9}")
        values = "".join(f"{_value(name, logs[name]):>14}" for name in self._columns)
        trains = "head" if epoch < self._freeze_epochs else "plan"
        seconds = time.perf_counter() - self._start
        self._console.print(f"{f'{epoch + 1}/{self._epochs}':<7}{trains:<7}{values}{seconds:>9.1f}")

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _value(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name.endswith("accuracy") else f"{value:.4f}"
