"""`read_folder` and `open_folder`: images in a folder for each class."""

import collections
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from difflr.data.examples import Examples, check_skipped, known_classes, some
from difflr.data.image import SUFFIXES
from difflr.data.image_files import MOST_HELD, scan
from difflr.text_table import counted

TRAIN, VALIDATION, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
PARTS = frozenset((*TRAIN, *VALIDATION, *TEST))


def read_folder(
    folder: str | Path,
    size: tuple[int, int],
    *,
    channels: int = 3,
    class_names: Sequence[str] | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Examples:
    """Reads a folder of images, with a subfolder named after each class, into memory.

    Each image is read as by `difflr.data.read_image`, in several threads, and takes one byte per value: 150 kB at
    224 x 224. For folders that do not fit into memory, use `difflr.data.open_folder`.

    Args:
        folder: The folder. Images may be in folders below the class folders. Names that begin with a dot are ignored.
        size: Pair of integers, the height and width in pixels.
        channels: Integer: 1 for grayscale, 3 for RGB, 4 for RGBA.
        class_names: The class names, in label order. By default the names of the folders, sorted.
        on_image: Function of two integers, the images read and all images; called after each image, for a progress bar.

    Returns:
        A `difflr.data.Examples` with `x` of shape `(num_images, height, width, channels)`, uint8. `skipped` lists the
        images that cannot be read, `notes` anything else that was left out or changed.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: If there are fewer than two class folders, a class has no images, or more than a tenth of the images
            cannot be read.

    Example:

    ```python
    from pathlib import Path
    from PIL import Image

    for name, color in (("sea", "blue"), ("wood", "green")):
        Path("images", name).mkdir(parents=True)
        Image.new("RGB", (40, 30), color).save(Path("images", name, "1.png"))

    examples = difflr.data.read_folder("images", (32, 32))
    print(examples.x.shape, examples.class_names)  # (2, 32, 32, 3) ('sea', 'wood')
    ```
    """
    opened = open_folder(folder, size, channels=channels, class_names=class_names, on_image=on_image, most_held=None)
    return dataclasses.replace(opened, x=opened.x[:])


def open_folder(
    folder: str | Path,
    size: tuple[int, int],
    *,
    channels: int = 3,
    class_names: Sequence[str] | None = None,
    on_image: Callable[[int, int], None] | None = None,
    most_held: int | None = MOST_HELD,
) -> Examples:
    """Checks each image in a folder and leaves it there: `difflr.data.Batches` reads images when it needs them.

    Damaged files are found by their first and last bytes or their checksums, and decoded only if that is not enough.

    Args:
        folder: As in `difflr.data.read_folder`.
        size: Pair of integers, the height and width in pixels.
        channels: Integer: 1 for grayscale, 3 for RGB, 4 for RGBA.
        class_names: The class names, in label order. By default the names of the folders, sorted.
        on_image: Function of two integers, the images checked and all images; called after each image.
        most_held: Integer, bytes. If all images need no more than this, each stays in memory after its first use.
            `None`: all are read now.

    Returns:
        As from `difflr.data.read_folder`, with a `difflr.data.ImageFiles` as `x`.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: As in `difflr.data.read_folder`.

    Example:

    ```python
    from pathlib import Path
    from PIL import Image

    for name, color in (("sea", "blue"), ("wood", "green")):
        Path("images", name).mkdir(parents=True)
        Image.new("RGB", (40, 30), color).save(Path("images", name, "1.png"))

    examples = difflr.data.open_folder("images", (32, 32))
    print(examples.x.shape, examples.x[0].shape)  # (2, 32, 32, 3) (32, 32, 3)
    ```
    """
    folder = Path(folder)
    names, classes = classes_in(folder, class_names)
    files = [(names.index(name), file) for name, below in classes.items() for file in below]
    images, kept, reasons, remarks = scan([file for _, file in files], size, channels, on_image, most_held)
    skipped = [(str(files[position][1].relative_to(folder)), reason) for position, reason in reasons.items()]
    check_skipped(skipped, len(files), str(folder))
    labels = np.array([label for label, _ in files], "int32")[kept]
    for name in classes:
        if names.index(name) not in labels:
            raise ValueError(f"None of the images of class '{name}' in {folder} can be read.")
    return Examples(images, labels, names, tuple(skipped), (*_notes(remarks), *left_out(folder)))


def classes_in(folder: Path, class_names: Sequence[str] | None = None) -> tuple[tuple[str, ...], dict[str, list[Path]]]:
    """The classes in a folder, without an image being read.

    Args:
        folder: With a folder for each class.
        class_names: The class names, in label order. By default the names of the folders, sorted.

    Returns:
        The names of the classes in the order of their labels, and the files of each class that is there, sorted.

    Raises:
        ValueError: If the folder is not arranged so, or has other classes than `class_names`.
    """
    below = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in below if entry.is_dir()]
    expected = f"Expected a folder for each class, as in {folder}/cat/1.jpg, {folder}/dog/1.jpg."
    if not folders:
        loose = sum(_is_image(entry) for entry in below)
        what = f"has {counted(loose, 'image')} and no folders" if loose else "has no folders" if below else "is empty"
        raise ValueError(f"The folder {folder} {what}. {expected}")
    if all(entry.name.lower() in PARTS for entry in folders):
        raise ValueError(
            f"The folder {folder} holds the parts {', '.join(entry.name for entry in folders)}, not classes. Give "
            f"{folders[0]} or its like as data, and another part as validation data."
        )
    classes = {entry.name: sorted(filter(_is_image, _files(entry))) for entry in folders}
    for name, files in classes.items():
        if not files:
            raise ValueError(
                f"The class folder {folder / name} has no images ({', '.join(sorted(SUFFIXES))}). Fill or remove it."
            )
    return known_classes(classes, class_names, f"The folder {folder}"), classes


def ready_split(folder: Path) -> tuple[Path | None, Path | None, list[Path]]:
    """The parts of a folder that is divided already: to train on, to validate on, and what is left for a test.

    Args:
        folder: With `train/`, and `val/` or `test/` beside it. If it holds anything else, it is not divided.
    """
    below = {entry.name.lower(): entry for entry in sorted(folder.iterdir()) if entry.is_dir() and entry.name[0] != "."}
    train = next((below[name] for name in TRAIN if name in below), None)
    if train is None or not set(below) <= PARTS or len(below) < 2:
        return None, None, []
    validation = next((below[name] for name in VALIDATION if name in below), None)
    return train, validation, [entry for entry in below.values() if entry not in (train, validation)]


def _files(folder: Path) -> Iterator[Path]:
    """The files below `folder`, without hidden ones and what is in hidden folders: thumbnails, other programs' copies.

    A link to a folder that it is in is a file here: it has no end.
    """
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir() and not folder.resolve().is_relative_to(entry.resolve()):
            yield from _files(entry)
        else:
            yield entry


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and entry.is_file()


def left_out(folder: Path) -> list[str]:
    """A note of the files that are not images or are outside the class folders; empty if there are none.

    Args:
        folder: With a folder for each class.
    """
    loose = [entry for entry in folder.iterdir() if entry.is_file() and not entry.name.startswith(".")]
    others = [file for file in _files(folder) if not _is_image(file) and file not in loose]
    notes = []
    for files, what in ((loose, "in no class folder"), (others, "no images")):
        if files:
            names = some(sorted(str(file.relative_to(folder)) for file in files))
            notes.append(f"left out, {what}: {counted(len(files), 'file')} ({names})")
    return notes


def _notes(remarks: Sequence[str]) -> list[str]:
    numbers = collections.Counter(remarks)
    return [f"{counted(number, 'image')} with {remark}" for remark, number in numbers.items()]
