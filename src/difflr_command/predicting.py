"""What `difflr predict` does: predicts batch by batch, and writes while it goes."""

import contextlib
import csv
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import typer

from difflr.files import whole_file
from difflr.text_table import counted
from difflr_command import console
from difflr_command.network import CLASSES, LABELS, NUMBERS, TEXTS, Network, named
from difflr_command.unlabeled import Item

Predicted = tuple[Item, "np.ndarray | None"]


def predict_items(
    network: Network, items: Iterator[Item], form: str, output: Path | None, top: int, batch_size: int
) -> None:
    """Runs it all; errors become one line and an exit code.

    Args:
        network: The network.
        items: The examples to predict.
        form: `"csv"`, `"json"` or `"lines"`.
        output: Where to; `None` for stdout.
        top: How many classes of each.
        batch_size: How many are predicted at once.
    """
    number, failed = 0, 0
    kept = "what was printed is not all" if output is None else f"{output} is not written"
    with console.running(kept), _opened(output) as stream:
        writers: dict[str, type[Table] | type[Document] | type[Lines]] = {
            "csv": Table,
            "json": Document,
            "lines": Lines,
        }
        writer = writers[form](stream, network, top)
        for item, scores in predicted(network, items, batch_size):
            writer.write(item, scores)
            number, failed = number + 1, failed + (scores is None)
            if number % batch_size == 0:
                stream.flush()  # who reads the pipe need not wait for the end
            if scores is None:
                console.tell("warning", f"{shown(item.name)} is skipped: {item.reason}")
        writer.close()
        stream.flush()
        if not number:
            raise console.stop(
                ValueError("There was nothing to predict: no file, or an empty pipe."), console.BAD_INPUT
            )
    if output is not None:
        console.messages().print(f"Written: {output} ({counted(number - failed, 'prediction')})")
    if failed:
        console.tell("error", f"{failed:,} of {counted(number, 'example')} could not be read")
        raise typer.Exit(console.FAILED)


@contextlib.contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    with whole_file(output) as unfinished, unfinished.open("w", encoding="utf-8", newline="") as stream:
        yield stream


def predicted(network: Network, items: Iterator[Item], batch_size: int) -> Iterator[Predicted]:
    """Every item in its order, with its prediction, or `None` where it cannot be read.

    Args:
        network: The network.
        items: The examples to predict.
        batch_size: The batch size.
    """
    waiting: list[Item] = []
    number = 0
    for item in items:
        waiting.append(item)
        number += item.value is not None
        if number == batch_size:
            yield from _batch(network, waiting, batch_size)
            waiting, number = [], 0
    if waiting:
        yield from _batch(network, waiting, batch_size)


def _batch(network: Network, items: Sequence[Item], batch_size: int) -> Iterator[Predicted]:
    values = [item.value for item in items if item.value is not None]
    scores = iter(network.predict(stacked(values), batch_size) if values else ())
    for item in items:
        yield item, None if item.value is None else next(scores)


def stacked(inputs: Sequence[np.ndarray | str]) -> np.ndarray:
    """Images and arrays on top of each other; texts as an array of objects."""
    if not isinstance(inputs[0], str):
        return np.stack([np.asarray(one) for one in inputs])
    texts = np.empty(len(inputs), object)
    texts[:] = inputs
    return texts


def shown(name: str) -> str:
    """A name as UTF-8 can hold it: names of files may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


class Writer(ABC):
    """Writes predictions.

    Args:
        stream: Where to.
        network: What predicted.
        top: How many classes of each.
    """

    def __init__(self, stream: TextIO, network: Network, top: int):
        self.stream, self.network = stream, network
        self.task, self.names = network.info.task, network.class_names
        self.top = min(top, len(self.names))
        self.key = "text" if network.info.data == TEXTS else "file" if network.info.data == "images" else "row"

    @abstractmethod
    def write(self, item: Item, scores: "np.ndarray | None") -> None:
        """One prediction."""

    def close(self) -> None:  # noqa: B027 - most have nothing to add
        """The end."""

    def found(self, scores: np.ndarray) -> list[tuple[str, float]]:
        """Names and numbers of a prediction."""
        return named(self.names, scores, self.task, self.top)


class Lines(Writer):
    """A line each, for people."""

    def write(self, item: Item, scores: "np.ndarray | None") -> None:
        """One prediction."""
        if scores is None:
            return  # which a warning says
        if self.task == NUMBERS:
            one = len(self.names) == 1
            said = ", ".join(f"{value:.6g}" if one else f"{name} {value:.6g}" for name, value in self.found(scores))
        else:
            said = ", ".join(f"{name} {100 * value:.1f} %" for name, value in self.found(scores)) or "none"
        self.stream.write(f"{shown(item.name)}: {said}\n")


class Table(Writer):
    """CSV, with a column that says what could not be read."""

    def __init__(self, stream: TextIO, network: Network, top: int):
        super().__init__(stream, network, top)
        if self.task == CLASSES:
            columns = ["class", "probability"]
            columns += [f"{name}_{number}" for number in range(2, self.top + 1) for name in ("class", "probability")]
        else:
            columns = [*(["labels"] if self.task == LABELS else []), *self.names]
        self._num_columns = len(columns)
        self._rows = csv.writer(stream, lineterminator="\n")
        self._rows.writerow([self.key, *columns, "error"])

    def write(self, item: Item, scores: "np.ndarray | None") -> None:
        """One prediction."""
        if scores is None:
            cells = [""] * self._num_columns
        elif self.task == CLASSES:
            cells = [cell for name, value in self.found(scores) for cell in (name, f"{value:.6f}")]
        else:
            labels = [";".join(name for name, _ in self.found(scores))] if self.task == LABELS else []
            cells = [*labels, *(f"{value:.6g}" for value in scores)]
        self._rows.writerow([shown(item.name), *cells, item.reason or ""])


class Document(Writer):
    """One JSON document, when all is predicted."""

    def __init__(self, stream: TextIO, network: Network, top: int):
        super().__init__(stream, network, top)
        self._all: list[dict[str, object]] = []

    def write(self, item: Item, scores: "np.ndarray | None") -> None:
        """One prediction."""
        entry: dict[str, object] = {self.key: shown(item.name)}
        if scores is None:
            entry["error"] = item.reason
        elif self.task == NUMBERS:
            entry["values"] = dict(self.found(scores))
        elif self.task == LABELS:
            entry["labels"] = [name for name, _ in self.found(scores)]
            entry["probabilities"] = dict(zip(self.names, map(float, scores), strict=True))
        else:
            best = self.found(scores)
            entry |= {"class": best[0][0], "probability": best[0][1]}
            if self.top > 1:
                entry["top"] = [{"class": name, "probability": value} for name, value in best]
        self._all.append(entry)

    def close(self) -> None:
        """The document."""
        json.dump(self._all, self.stream, indent=1, ensure_ascii=False)
        self.stream.write("\n")
