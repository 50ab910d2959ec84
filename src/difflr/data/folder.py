"""`read_folder`: pictures in a folder for each class."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from difflr.data.examples import Examples, check_skipped, known_classes

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
SUFFIXES = frozenset([".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".pgm", ".tif", ".tiff", ".webp"])
PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


def read_folder(
    folder: str | Path,
    size: tuple[int, int],
    *,
    channels: int = 3,
    class_names: Sequence[str] | None = None,
) -> Examples:
    """Reads the pictures in `folder`, which has a folder for each class, named after it.

    Pictures are turned as their EXIF data says, converted to `channels`, and stretched to `size` (bilinear, with
    antialiasing). All are held in memory, a byte a value: 150 kB each at 224 x 224.

    Args:
        folder: With a folder for each class; pictures may lie in folders below that. Hidden files are left out.
        size: Height and width in pixels.
        channels: Integer: 1 for grey, 3 for RGB, 4 for RGB and opacity.
        class_names: The classes to number labels by. By default the names of the folders, sorted.

    Returns:
        The `Examples`: `x` of shape `(num_pictures, height, width, channels)`, uint8. Files that are no readable
        pictures are listed in `skipped`.

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
    classes = _class_folders(folder)
    names = known_classes(classes, class_names, f"The folder {folder}")
    pictures, labels, skipped, number = [], [], [], 0
    for name, files in classes.items():
        for file in files:
            number += 1
            try:
                pictures.append(_picture(file, size, MODES[channels]))
                labels.append(names.index(name))
            except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for broken files
                skipped.append((str(file.relative_to(folder)), _reason(error)))
    check_skipped(skipped, number, str(folder))
    for name in classes:
        if names.index(name) not in labels:
            raise ValueError(f"None of the pictures of class '{name}' in {folder} can be read.")
    return Examples(np.stack(pictures), np.array(labels, "int32"), names, tuple(skipped))


def _class_folders(folder: Path) -> dict[str, list[Path]]:
    """Class name -> the picture files below its folder, sorted.

    Raises:
        ValueError: If the folder is not arranged so.
    """
    below = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    folders = [entry for entry in below if entry.is_dir()]
    expected = f"Expected a folder for each class, as in {folder}/cat/1.jpg, {folder}/dog/1.jpg."
    if not folders:
        loose = sum(_is_picture(entry) for entry in below)
        what = f"has {loose} pictures and no folders" if loose else "is empty" if not below else "has no folders"
        raise ValueError(f"The folder {folder} {what}. {expected}")
    if all(entry.name.lower() in PARTS for entry in folders):
        raise ValueError(
            f"The folder {folder} holds the parts {', '.join(entry.name for entry in folders)}, not classes. Give "
            f"{folders[0]} or its like as data, and another part as validation data."
        )
    classes = {entry.name: sorted(filter(_is_picture, entry.rglob("*"))) for entry in folders}
    for name, files in classes.items():
        if not files:
            raise ValueError(
                f"The class folder {folder / name} has no pictures ({', '.join(sorted(SUFFIXES))}). Fill or remove it."
            )
    return classes


def _is_picture(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def _picture(file: Path, size: tuple[int, int], mode: str) -> np.ndarray:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError('Pictures need Pillow: pip install "difflr[cli]"') from None
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file) as opened:
                turned: Any = ImageOps.exif_transpose(opened).convert(mode)
                resized = turned.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ValueError("too large") from None
    return np.asarray(resized, "uint8").reshape(*size, len(mode))


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "no picture, or damaged" if "cannot identify" in text else text[:100]
