"""`read_folder`: pictures in a folder for each class."""

import collections
import concurrent.futures
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from difflr.data.examples import Examples, check_skipped, counted, known_classes, some
from difflr.data.picture import MODES, SUFFIXES, decode, too_large_is_an_error

PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})
Decoded = tuple[np.ndarray | None, str | None]


def read_folder(
    folder: str | Path,
    size: tuple[int, int],
    *,
    channels: int = 3,
    class_names: Sequence[str] | None = None,
    on_picture: Callable[[int, int], None] | None = None,
) -> Examples:
    """Reads the pictures in `folder`, which has a folder for each class, named after it.

    Each is read as `difflr.data.read_picture` does, several at a time. All are held in memory, a byte a value: 150 kB
    each at 224 x 224.

    Args:
        folder: With a folder for each class; pictures may lie in folders below that. Hidden files and folders (a dot in
            front) are left out.
        size: Height and width in pixels.
        channels: Integer: 1 for grey, 3 for RGB, 4 for RGB and opacity.
        class_names: The classes to number labels by. By default the names of the folders, sorted.
        on_picture: Called after each picture with how many are read and how many there are, for a progress bar.

    Returns:
        The `Examples`: `x` of shape `(num_pictures, height, width, channels)`, uint8. Pictures that cannot be read are
        listed in `skipped`; what else was left out or changed is in `notes`.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: If there are no class folders, one class only, a class without pictures, or more than a tenth of the
            pictures cannot be read.

    Example:

    ```python
    from pathlib import Path
    from PIL import Image

    for name, colour in (("sea", "blue"), ("wood", "green")):
        Path("pictures", name).mkdir(parents=True)
        Image.new("RGB", (40, 30), colour).save(Path("pictures", name, "1.png"))

    examples = difflr.data.read_folder("pictures", (32, 32))
    print(examples.x.shape, examples.class_names)  # (2, 32, 32, 3) ('sea', 'wood')
    ```
    """
    folder = Path(folder)
    if channels not in MODES:
        raise ValueError(f"`channels` must be 1, 3 or 4. Received: {channels!r}.")
    names, classes = classes_in(folder, class_names)
    files = [(names.index(name), file) for name, below in classes.items() for file in below]
    pictures, labels, skipped, remarks = [], [], [], []
    for number, (picture, remark) in enumerate(_decoded([file for _, file in files], size, channels)):
        label, file = files[number]
        if picture is None:
            skipped.append((str(file.relative_to(folder)), str(remark)))
        else:
            pictures.append(picture)
            labels.append(label)
            remarks.append(remark)
        if on_picture is not None:
            on_picture(number + 1, len(files))
    check_skipped(skipped, len(files), str(folder))
    for name in classes:
        if names.index(name) not in labels:
            raise ValueError(f"None of the pictures of class '{name}' in {folder} can be read.")
    return Examples(
        np.stack(pictures), np.array(labels, "int32"), names, tuple(skipped), _notes(remarks, _others(folder, classes))
    )


def classes_in(folder: Path, class_names: Sequence[str] | None = None) -> tuple[tuple[str, ...], dict[str, list[Path]]]:
    """The classes in a folder, without a picture being read.

    Args:
        folder: With a folder for each class.
        class_names: The classes to number labels by. By default the names of the folders, sorted.

    Returns:
        The names of the classes in the order of their labels, and the files of each class that is there, sorted.

    Raises:
        ValueError: If the folder is not arranged so, or has other classes than `class_names`.
    """
    below = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in below if entry.is_dir()]
    expected = f"Expected a folder for each class, as in {folder}/cat/1.jpg, {folder}/dog/1.jpg."
    if not folders:
        loose = sum(_is_picture(entry) for entry in below)
        what = f"has {counted(loose, 'picture')} and no folders" if loose else "has no folders" if below else "is empty"
        raise ValueError(f"The folder {folder} {what}. {expected}")
    if all(entry.name.lower() in PARTS for entry in folders):
        raise ValueError(
            f"The folder {folder} holds the parts {', '.join(entry.name for entry in folders)}, not classes. Give "
            f"{folders[0]} or its like as data, and another part as validation data."
        )
    classes = {entry.name: sorted(filter(_is_picture, _files(entry))) for entry in folders}
    for name, files in classes.items():
        if not files:
            raise ValueError(
                f"The class folder {folder / name} has no pictures ({', '.join(sorted(SUFFIXES))}). Fill or remove it."
            )
    return known_classes(classes, class_names, f"The folder {folder}"), classes


def _files(folder: Path) -> Iterator[Path]:
    """The files below `folder`, without hidden ones and what is in hidden folders: thumbnails, other programs' copies."""
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _files(entry)
        else:
            yield entry


def _is_picture(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and entry.is_file()


def _others(folder: Path, classes: dict[str, list[Path]]) -> list[str]:
    """The files beside the pictures, by how their names end."""
    return [
        file.suffix.lower() or file.name for name in classes for file in _files(folder / name) if not _is_picture(file)
    ]


def _decoded(files: Sequence[Path], size: tuple[int, int], channels: int) -> Iterator[Decoded]:
    """The pictures in their order, or `None` and the reason. Pillow decodes without Python's lock: threads are enough."""
    pool = concurrent.futures.ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with too_large_is_an_error():
            yield from pool.map(functools.partial(_or_reason, size=size, channels=channels), files)
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C


def _or_reason(file: Path, size: tuple[int, int], channels: int) -> Decoded:
    try:
        return decode(file, size, channels)
    except ValueError as error:
        return None, str(error)


def _notes(remarks: Sequence[str | None], others: Sequence[str]) -> tuple[str, ...]:
    numbers = collections.Counter(filter(None, remarks))
    notes = [f"{counted(number, 'picture')} with {remark}" for remark, number in numbers.items()]
    if others:
        notes.append(f"no pictures, left out: {counted(len(others), 'file')} ({some(sorted(set(others)))})")
    return tuple(notes)
