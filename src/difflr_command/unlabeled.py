"""What `difflr predict` predicts: images, texts and rows, one after the other, however many come out of a pipe."""

import concurrent.futures
import dataclasses
import io
import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from difflr.checks import did_you_mean
from difflr.data.image import SUFFIXES, too_large_is_an_error
from difflr.data.rows import SUFFIXES as TABLES
from difflr.data.rows import rows_of
from difflr.data.table import FILE_COLUMNS
from difflr.text_table import counted
from difflr_command import console
from difflr_command.inputs import check_shape, only_for
from difflr_command.network import IMAGES, TEXTS, Network

PIPE = "-"
AT_ONCE = 64  # images that are decoded and wait
Read = tuple["np.ndarray | str | None", str | None]


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


def unlabeled(
    network: Network, given: Sequence[str], text_column: str | None, file_column: str | None
) -> Iterator[Item]:
    """The examples to predict.

    Args:
        network: The network.
        given: Files and folders; `-` for what a pipe holds.
        columns: The columns of tables.

    Raises:
        ValueError: If a file is not there, or not of the kind that the model takes.
    """
    for name in given:
        if name != PIPE and not os.path.exists(name):
            raise ValueError(_missing(name))
    if network.info.data == IMAGES:
        only_for("tables of texts", IMAGES, text_column=text_column)
        named = FILE_COLUMNS if file_column is None else [file_column]
        tables = {name: _paths_in(Path(name), named) for name in given if Path(name).suffix.lower() in TABLES}
        return _images(network, _listed(given, tables))
    only_for("tables of images", network.info.data, file_column=file_column)
    if network.info.data == TEXTS:
        for name in given:
            _check_suffix(
                name, (*TABLES, ".txt"), f"texts, from a table ({', '.join(TABLES)}) or a .txt with a text in each line"
            )
        texts = [list(_texts_in(Path(name), text_column or "text")) for name in given if name != PIPE]
        piped = (Item(line, line) for line in _lines()) if PIPE in given else ()
        return itertools.chain(*texts, piped)
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


def _paths_in(table: Path, columns: Sequence[str]) -> list[Path]:
    return [table.parent / row.content.strip() for row in rows_of(table, columns, (), "file")]


def _listed(given: Sequence[str], tables: Mapping[str, Sequence[Path]]) -> Iterator[Path]:
    """The images, those in folders sorted; hidden files are left out there, and so are other files, with a note."""
    for name in given:
        if name == PIPE:
            yield from map(Path, _lines())
        elif name in tables:
            yield from tables[name]
        elif os.path.isdir(name):
            others = 0
            for folder, below, files in os.walk(name):
                below[:] = sorted(one for one in below if not one.startswith("."))
                shown = [Path(folder, file) for file in sorted(files) if not file.startswith(".")]
                images = [file for file in shown if file.suffix.lower() in SUFFIXES]
                others += len(shown) - len(images)
                yield from images
            if others:
                console.tell("note", f"{counted(others, 'file')} in {name} left out: no images")
        else:
            yield Path(name)


def _images(network: Network, files: Iterator[Path]) -> Iterator[Item]:
    names: list[str] = []

    def noted() -> Iterator[Path]:
        for file in files:
            names.append(str(file))
            yield file

    for value, reason in decoded(noted(), network):
        yield Item(names.pop(0), value, reason)


def decoded(files: Iterable[Path], network: Network) -> Iterator[Read]:
    """The images in their order, decoded by threads some way ahead; or `None` and the reason.

    Args:
        files: The files.
        network: What takes them.
    """
    waiting: list[concurrent.futures.Future[Read]] = []
    pool = concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with too_large_is_an_error():
            for file in files:
                waiting.append(pool.submit(_image_or_reason, network, file))
                if len(waiting) > AT_ONCE:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C


def _image_or_reason(network: Network, file: Path) -> Read:
    try:
        return network.image(file)[0], None
    except FileNotFoundError:
        return None, "there is no such file"
    except (ValueError, OSError) as error:
        text = getattr(error, "strerror", None) or str(error)
        return None, "there is no such file" if "No such file" in text else text


def _texts_in(file: Path, column: str) -> Iterator[Item]:
    if file.suffix.lower() not in TABLES:
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not in UTF-8 ({error.reason} at byte {error.start}). Save it so.") from None
        yield from (Item(line, line) for line in lines if line.strip())
        return
    for row in rows_of(file, [column], (), "text"):
        yield Item(row.content or row.place, None if row.reason else row.content, row.reason)


def _rows(network: Network, given: Sequence[str]) -> Iterator[Item]:
    arrays = []
    for name in given:
        if name == PIPE:
            raise ValueError("The model takes arrays, which no pipe can hold: name an .npz with x.")
        try:
            with np.load(name, allow_pickle=False) as opened:
                x = opened["x"]
        except (ValueError, OSError, KeyError) as error:
            raise ValueError(f"{name} is no .npz file with an array x of numbers: {error}") from None
        check_shape(network.model.input_shape, x, Path(name))
        arrays.append(x)
    return (Item(f"row {number}", row) for number, row in enumerate(row for x in arrays for row in x))
