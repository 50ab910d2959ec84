"""`read_arrays`: inputs and targets in an `.npz` file."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from difflr.data.examples import Examples

VALIDATION = ("x_val", "y_val")


def read_arrays(file: str | Path) -> tuple[Examples, Examples | None]:
    """Reads the arrays `x` and `y`, and `x_val` and `y_val` if they are there, from a file that `np.savez` wrote.

    Args:
        file: The `.npz` file. Pickled objects in it are not read.

    Returns:
        The training `Examples` and those for validation, or `None`. If `y` holds whole numbers, `(num_examples,)`, they
        are labels, counted from 0; else `class_names` is empty.

    Raises:
        ValueError: If the file is no `.npz`, an array is missing, the lengths differ, or a value is not finite.

    Example:

    ```python
    np.savez("data.npz", x=x, y=y)
    examples, validation = difflr.data.read_arrays("data.npz")
    assert validation is None
    ```
    """
    file = Path(file)
    try:
        with file.open("rb") as opened:  # which np.load would leave open if it fails
            loaded = np.load(opened, allow_pickle=False)
            arrays = {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        objects = "pickle" in str(error)
        what = "holds Python objects, which are not read: save plain numbers" if objects else "is no .npz file"
        raise ValueError(f"{file} {what}. Write it by np.savez({file.name!r}, x=..., y=...).") from None
    for name in ("x", "y"):
        if name not in arrays:
            raise ValueError(f"{file} has no array '{name}'. It has: {', '.join(arrays) or 'none'}.")
    if (VALIDATION[0] in arrays) != (VALIDATION[1] in arrays):
        raise ValueError(f"{file} has one of the arrays x_val and y_val; both or none are needed.")
    train = _examples(file, arrays, ("x", "y"), 2)
    if VALIDATION[0] not in arrays:
        return train, None
    return train, _examples(file, arrays, VALIDATION, len(train.class_names))


def _examples(file: Path, arrays: Mapping[str, np.ndarray], names: tuple[str, str], num_classes: int) -> Examples:
    x, y = (arrays[name] for name in names)
    for name, values in zip(names, (x, y), strict=True):
        if not values.ndim or (not np.issubdtype(values.dtype, np.number) and values.dtype != bool):
            raise ValueError(
                f"The array '{name}' of {file} must hold numbers. Received: {values.dtype} {values.shape}."
            )
        wrong = 0 if not np.issubdtype(values.dtype, np.inexact) else int((~np.isfinite(values)).sum())
        if wrong:
            raise ValueError(f"The array '{name}' of {file} has {wrong} values that are NaN or infinite. Remove them.")
    if len(x) != len(y) or not len(x):
        raise ValueError(f"'{names[0]}' and '{names[1]}' of {file} must have equal lengths: {len(x)} and {len(y)}.")
    x = x.astype("float32") if x.dtype == "float64" else x
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    whole = y.ndim == 1 and (not np.issubdtype(y.dtype, np.inexact) or bool((y == np.floor(y)).all()))
    if not whole:
        return Examples(x, y.astype("float32") if y.dtype == "float64" else y)
    if y.min() < 0:
        raise ValueError(f"Labels are counted from 0. Received in '{names[1]}' of {file}: {y.min():g}.")
    classes = max(num_classes, int(y.max()) + 1)
    return Examples(x, y.astype("int32"), tuple(map(str, range(classes))))
