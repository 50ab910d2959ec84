"""`Labeled`: examples with their answers, read one after the other."""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import difflr
from difflr.data.folder import PARTS, classes_in, left_out
from difflr.data.picture import too_large_is_an_error
from difflr.data.table import picture_targets
from difflr_command.data_options import columns_in
from difflr_command.inputs import check_shape, name_below, targets_of
from difflr_command.network import ARRAYS, NUMBERS, PICTURES, TEXTS, Network
from difflr_command.settings import form_of

Read = tuple["np.ndarray | str | None", str | None]
AT_ONCE = 64  # pictures that are decoded and wait


class Columns(NamedTuple):
    """The columns of a table, as the options say; `None` for the usual one."""

    text: str | None = None
    file: str | None = None
    label: str = "label"


@dataclasses.dataclass(frozen=True)
class Labeled:
    """Examples with their answers.

    Args:
        path: Where they are.
        names: Their names.
        y: The answers.
        read: Function that reads all, one after the other: the input, or `None` and the reason.
        show: Function from a position to the picture or text there.
        can_be_shown: Whether there is something to show.
        skipped: What was left out already.
        notes: What should be known.
    """

    path: Path
    names: list[str]
    y: np.ndarray
    read: Callable[[], Iterable[Read]]
    show: Callable[[int], np.ndarray | str]
    can_be_shown: bool = True
    skipped: tuple[tuple[str, str], ...] = ()
    notes: list[str] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)


def labeled(network: Network, path: Path, columns: Columns) -> Labeled:
    """The examples at `path`.

    Args:
        network: What takes them.
        path: Where they are.
        columns: The columns, if it is a table.

    Raises:
        ValueError: If the network takes other data, or has other classes.
    """
    form, takes = form_of(path), network.info.data
    if form == "table" and takes == PICTURES:
        only_for("--text-column", "tables of texts", columns.text, network)
        return _picture_table(network, path, columns)
    form = TEXTS if form == "table" else form
    if form != takes:
        raise ValueError(f"{network.file} takes {takes}, and {path} holds {form}.")
    if form == PICTURES:
        return _pictures(network, path)
    if form == TEXTS:
        only_for("--file-column", "tables of pictures", columns.file, network)
        return _texts(network, path, columns)
    assert form == ARRAYS
    return _arrays(network, path)


def only_for(option: str, owner: str, value: str | None, network: Network) -> None:
    """Checks that an option about other data is left out.

    Raises:
        ValueError: If it is not.
    """
    if value is not None:
        raise ValueError(f"{option} is for {owner}, and the model takes {network.info.data}: leave it out.")


def _pictures(network: Network, path: Path) -> Labeled:
    known = network.info.class_names or None
    notes: list[str] = []
    if (path / "test").is_dir() and all(part.name.lower() in PARTS for part in path.iterdir() if part.is_dir()):
        notes, path = [f"of the parts of {path}, test is taken"], path / "test"
    names, classes = classes_in(path, known)
    _check_classes(network, names, f"The folder {path}")
    notes += left_out(path)
    files = [(names.index(name), file) for name, below in classes.items() for file in below]
    labels = np.array([label for label, _ in files], "int64")
    return _of_files(network, path, [file for _, file in files], labels, notes)


def _picture_table(network: Network, path: Path, columns: Columns) -> Labeled:
    files, targets = picture_targets(
        path,
        columns_in(columns.label),
        file_column=columns.file,
        targets=targets_of(network.info.task),
        class_names=network.info.class_names or None,
    )
    if targets.class_names:
        _check_classes(network, targets.class_names, f"The column '{columns.label}' of {path}")
    return _of_files(
        network, path.parent, files, targets.y if not targets.class_names else targets.y.astype("int64"), []
    )


def _of_files(network: Network, path: Path, files: list[Path], labels: np.ndarray, notes: list[str]) -> Labeled:
    def show(position: int) -> np.ndarray:
        return difflr.data.read_picture(files[position], *_size(network))

    names = [name_below(file, path) for file in files]
    return Labeled(path, names, labels, functools.partial(decoded, files, network), show, notes=notes)


def _size(network: Network) -> tuple[tuple[int, int], int]:
    assert network.info.size is not None
    assert network.info.channels is not None
    return network.info.size, network.info.channels


def decoded(files: Iterable[Path], network: Network) -> Iterator[Read]:
    """The pictures in their order, decoded by threads some way ahead; or `None` and the reason.

    Args:
        files: The files.
        network: What takes them.
    """
    waiting: list[concurrent.futures.Future[Read]] = []
    pool = concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with too_large_is_an_error():
            for file in files:
                waiting.append(pool.submit(_picture_or_reason, network, file))
                if len(waiting) > AT_ONCE:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C


def _picture_or_reason(network: Network, file: Path) -> Read:
    try:
        return network.picture(file)[0], None
    except FileNotFoundError:
        return None, "there is no such file"
    except (ValueError, OSError) as error:
        text = getattr(error, "strerror", None) or str(error)
        return None, "there is no such file" if "No such file" in text else text


def _texts(network: Network, path: Path, columns: Columns) -> Labeled:
    table = difflr.data.read_table(
        path,
        text_column=columns.text or "text",
        label_column=columns_in(columns.label),
        class_names=network.info.class_names or None,
        targets=targets_of(network.info.task),
    )
    if table.class_names:
        _check_classes(network, table.class_names, f"The column '{columns.label}' of {path}")
    names = [f"text {number + 1}" for number in range(len(table))]
    return Labeled(
        path,
        names,
        table.y.astype("int64") if table.class_names else table.y,
        lambda: ((str(text), None) for text in table.x[:]),
        lambda position: str(table.x[position]),
        skipped=table.skipped,
    )


def _arrays(network: Network, path: Path) -> Labeled:
    numbers = network.info.task == NUMBERS
    examples, _ = difflr.data.read_arrays(path, targets=targets_of(network.info.task))
    check_shape(network.model.input_shape, examples.x, path)
    if not numbers and examples.y.ndim == 1 and examples.y.max() >= len(network.class_names):
        raise ValueError(
            f"y of {path} has labels up to {int(examples.y.max())}, and {network.file} tells {len(network.class_names)} "
            "classes apart, counted from 0."
        )
    return Labeled(
        path,
        [f"row {number}" for number in range(len(examples))],
        examples.y if numbers else examples.y.astype("int64"),
        lambda: ((row, None) for row in examples.x[:]),
        lambda position: "",
        can_be_shown=False,
    )


def _check_classes(network: Network, names: tuple[str, ...], where: str) -> None:
    """Checks that there is an output for each class, for a model whose file holds no names."""
    if network.info.class_names:
        return
    if len(names) != len(network.class_names):
        raise ValueError(
            f"{where} has {len(names)} classes, and {network.file}, which holds no names of classes, has "
            f"{len(network.class_names)}."
        )
    task = "classes" if network.info.task == NUMBERS else network.info.task  # logits
    network.info = dataclasses.replace(network.info, class_names=names, task=task)
