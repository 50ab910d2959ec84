"""What `difflr predict` predicts: pictures, texts and rows, one after the other, however many come out of a pipe."""

import csv
import dataclasses
import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from difflr.checks import did_you_mean
from difflr.data.picture import SUFFIXES
from difflr_command.labelled import decoded
from difflr_command.network import PICTURES, TEXTS, Network

PIPE = "-"
TABLES = {".csv": ",", ".tsv": "\t"}


@dataclasses.dataclass(frozen=True)
class Item:
    """One thing to predict.

    Args:
        name: Its name: the file, the text, or the row.
        value: What the model takes; `None` if it cannot be read.
        reason: Why not.
    """

    name: str
    value: "np.ndarray | str | None"
    reason: str | None = None


def unlabelled(network: Network, given: Sequence[str], text_column: str) -> Iterator[Item]:
    """What is to be predicted.

    Args:
        network: What takes it.
        given: Files and folders; `-` for what a pipe holds.
        text_column: The column with the texts.

    Raises:
        ValueError: If a file is not there, or not of the kind that the model takes.
    """
    for name in given:
        if name != PIPE and not os.path.exists(name):
            raise ValueError(_missing(name))
    if network.info.data == PICTURES:
        return _pictures(network, _listed(given))
    if network.info.data == TEXTS:
        for name in given:
            _check_suffix(name, (*TABLES, ".txt"), "texts, from a .csv, a .tsv or a .txt with a text in each line")
        texts = [list(_texts_in(Path(name), text_column)) for name in given if name != PIPE]
        piped = (line for line in _lines()) if PIPE in given else ()
        return (Item(text, text) for part in (*texts, piped) for text in part)
    for name in given:
        _check_suffix(name, (".npz",), "arrays, from the x of an .npz")
    return _rows(network, given)


def _missing(name: str) -> str:
    folder = os.path.dirname(name) or "."
    near = did_you_mean(os.path.basename(name), os.listdir(folder), 1) if os.path.isdir(folder) else ""
    return f"There is no file {name}.{near}"


def _check_suffix(name: str, known: Sequence[str], what: str) -> None:
    if name != PIPE and Path(name).suffix.lower() not in known:
        raise ValueError(f"The model takes {what}. Received: {name}.")


def _lines() -> Iterator[str]:
    """The lines of the pipe, without empty ones."""
    stream = sys.stdin
    if isinstance(stream, io.TextIOWrapper):  # names of files are bytes
        stream.reconfigure(errors="surrogateescape")
    for line in stream:
        text = line.rstrip("\r\n")
        if text:
            yield text


def _listed(given: Sequence[str]) -> Iterator[Path]:
    """The pictures, those in folders sorted; hidden ones are left out there."""
    for name in given:
        if name == PIPE:
            yield from map(Path, _lines())
        elif os.path.isdir(name):
            for folder, below, files in os.walk(name):
                below[:] = sorted(one for one in below if not one.startswith("."))
                for file in sorted(files):
                    if Path(file).suffix.lower() in SUFFIXES and not file.startswith("."):
                        yield Path(folder, file)
        else:
            yield Path(name)


def _pictures(network: Network, files: Iterator[Path]) -> Iterator[Item]:
    names: list[str] = []

    def noted() -> Iterator[Path]:
        for file in files:
            names.append(str(file))
            yield file

    for value, reason in decoded(noted(), network):
        yield Item(names.pop(0), value, reason)


def _texts_in(file: Path, column: str) -> Iterable[str]:
    try:
        content = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error.reason} at byte {error.start}). Save it so.") from None
    if file.suffix.lower() not in TABLES:
        return [line for line in content.splitlines() if line.strip()]
    first = content.split("\n", 1)[0]
    separator = max(
        (",", ";", "\t"), key=lambda one: (column in next(csv.reader([first], delimiter=one), []), first.count(one))
    )
    rows = csv.DictReader(io.StringIO(content, newline=""), delimiter=separator)
    if column not in (rows.fieldnames or ()):
        raise ValueError(
            f"{file} has no column '{column}'. Its columns are: {', '.join(rows.fieldnames or ()) or 'none'}. Say which: "
            "--text-column."
        )
    return [row[column] or "" for row in rows]


def _rows(network: Network, given: Sequence[str]) -> Iterator[Item]:
    shape = tuple(network.model.input_shape[1:])
    arrays = []
    for name in given:
        if name == PIPE:
            raise ValueError("The model takes arrays, which no pipe can hold: name an .npz with x.")
        try:
            with np.load(name, allow_pickle=False) as opened:
                x = opened["x"]
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{name} is no .npz file with an array x of numbers: {error}") from None
        if len(shape) != x.ndim - 1 or any(a not in (None, b) for a, b in zip(shape, x.shape[1:], strict=True)):
            raise ValueError(f"The model takes arrays of shape {shape}, and x of {name} holds {x.shape[1:]}.")
        arrays.append(x)
    return (Item(f"row {number}", row) for number, row in enumerate(row for x in arrays for row in x))
