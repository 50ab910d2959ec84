"""The progress of a run: bars on a terminal, and a line for each epoch."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

MEASURES = {"loss": "loss", "accuracy": "accuracy", "f1": "F1", "mae": "off by"}
NARROW = 80  # columns; below, less stands beside each other
NAMES = MEASURES | {f"val_{name}": f"val. {title}" for name, title in MEASURES.items()}


class NotFinite(RuntimeError):
    """The loss is no number any more."""


@contextlib.contextmanager
def reading(console: Console, what: str = "images", doing: str = "checking") -> Iterator[Callable[[int, int], None]]:
    """A bar for the images that are read.

    Args:
        console: Where to.
        what: What is counted.
        doing: What is done to it.

    Yields:
        A function to be called with how many are read, and how many there are.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(what))
    left = (TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, *left, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


class ShowProgress(keras.callbacks.Callback):
    """A bar for the whole run, with what is measured so far, and a line for each epoch.

    Args:
        console: Where to.
        epochs: How many there are in all.
        freeze_epochs: In how many of them, the first, only the head trains.
        first: The epoch it begins with, from 0.
    """

    def __init__(self, console: Console, epochs: int, freeze_epochs: int, first: int = 0):
        super().__init__()
        self._console, self._epochs, self._freeze_epochs, self._first = console, epochs, freeze_epochs, first
        self._columns: list[str] = []
        self._bar: Progress | None = None
        self._shown = 0.0
        self.epoch: int | None = None  # that is under way, from 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Begins the bar, or continues it."""
        self.epoch, self._start = epoch, time.perf_counter()
        if not self._console.is_terminal:
            return
        what = self._described(epoch, self._trains(epoch))
        if self._bar is None:
            steps = self.params["steps"]
            columns = (TextColumn("{task.description}"), BarColumn(None), TextColumn("{task.fields[measured]}"))
            left = [] if self._is_narrow else [TextColumn("left")]
            self._bar = Progress(*columns, TimeRemainingColumn(), *left, console=self._console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=steps * (self._epochs - self._first), measured="")
        self._bar.update(self._task, description=what, measured="")

    def _trains(self, epoch: int) -> str:
        return "head" if epoch < self._freeze_epochs else "plan"

    @property
    def _is_narrow(self) -> bool:
        return self._console.is_terminal and self._console.width < NARROW

    @property
    def _width(self) -> int:
        """Of a column of the epochs' lines."""
        return 9 if self._is_narrow else 14

    def _title(self, name: str) -> str:
        title = NAMES[name]
        return title.replace("accuracy", "acc.").replace("val. ", "v. ") if self._is_narrow else title

    def _described(self, epoch: int, what: str) -> str:
        """The current activity, padded to a fixed width so that the bar does not move."""
        return f"epoch {epoch + 1}/{self._epochs} {what:<10}"

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves the bar, five times a second at most: to read what was measured waits for the step."""
        now = time.perf_counter()
        if self._bar is None or self.epoch is None or now - self._shown < 0.2:
            return
        self._shown = now
        done = (self.epoch - self._first) * self.params["steps"] + batch + 1
        known = [name for name in MEASURES if name in (logs or {})][-1 if self._is_narrow else 0 :]
        measured = ", ".join(f"{MEASURES[name]} {_value(name, float((logs or {})[name]))}" for name in known)
        self._bar.update(self._task, completed=done, measured=measured)

    def on_test_begin(self, logs: Any = None) -> None:
        """Says that it validates."""
        if self._bar is not None and self.epoch is not None:
            self._bar.update(self._task, description=self._described(self.epoch, "validating"))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Writes the epoch's line.

        Raises:
            NotFinite: If the loss is NaN or infinite.
        """
        logs = logs or {}
        if not math.isfinite(logs.get("loss", 0.0)):
            self.close()
            raise NotFinite(f"the loss became {logs['loss']} in epoch {epoch + 1}: try a smaller --learning-rate")
        if not self._columns:
            self._columns = [name for name in NAMES if name in logs]
            titles = "".join(f"{self._title(name):>{self._width}}" for name in self._columns)
            self._console.print(f"{'epoch':<7}{'trains':<7}{titles}{'seconds':>9}")
        values = "".join(f"{_value(name, logs[name]):>{self._width}}" for name in self._columns)
        seconds = time.perf_counter() - self._start
        self._console.print(f"{f'{epoch + 1}/{self._epochs}':<7}{self._trains(epoch):<7}{values}{seconds:>9.1f}")

    def on_train_end(self, logs: Any = None) -> None:
        """Takes the bar away."""
        self.close()

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _value(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name.endswith("accuracy") else f"{value:.4f}"
