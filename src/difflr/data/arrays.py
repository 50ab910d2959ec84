"""`read_arrays`: inputs and targets in an `.npz` file."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from difflr.data.examples import Examples
from difflr.text_table import counted

VALIDATION = ("x_val", "y_val")


def read_arrays(file: str | Path, *, targets: str | None = None) -> tuple[Examples, Examples | None]:
    """Reads the arrays `x` and `y`, and `x_val` and `y_val` if present, from a file that `np.savez` wrote.

    Whole numbers in `y` may be labels, or numbers to predict, such as years. Unless `targets` says which, they are labels
    if every number from 0 up occurs. One-hot rows are labels, too.

    Args:
        file: The `.npz` file. Pickled objects in it are not read.
        targets: The kind of `y`: `"labels"`, of shape `(num_examples,)`; `"several"`, a column of 0 and 1 for each label;
            or `"numbers"`. `None`: labels or numbers, by the rule above.

    Returns:
        Two `difflr.data.Examples`, for training and validation; the second is `None` without `x_val`. For numbers,
        `class_names` is empty.

    Raises:
        ValueError: If the file is not an `.npz` file, an array is missing, the lengths differ, a value is not finite, or
            `y` does not fit `targets`.

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
        objects = "pickle" in str(error) and zipfile.is_zipfile(
            file
        )  # NumPy takes all that it does not know for pickles
        what = "holds Python objects, which are not read: save plain numbers" if objects else "is no .npz file"
        raise ValueError(f"{file} {what}. Write it by np.savez({file.name!r}, x=..., y=...).") from None
    for name in ("x", "y"):
        if name not in arrays:
            raise ValueError(f"{file} has no array '{name}'. It has: {', '.join(arrays) or 'none'}.")
    if (VALIDATION[0] in arrays) != (VALIDATION[1] in arrays):
        raise ValueError(f"{file} has one of the arrays x_val and y_val; both or none are needed.")
    _check(file, arrays)
    parts = [(arrays[x], _column(arrays[y])) for x, y in (("x", "y"), VALIDATION) if x in arrays]
    others = [name for name in arrays if name not in ("x", "y", *VALIDATION)]
    notes = [f"left out, other arrays: {', '.join(others)}"] if others else []
    if targets in (None, "labels") and all(_is_one_hot(y) for _, y in parts):
        notes.append("y is one-hot: one label per example")
        targets, parts = "labels", [(x, y.argmax(1)) for x, y in parts]
    if targets is None:
        targets = "labels" if _leaves_none_out(parts[0][1]) else "numbers"
    if targets == "labels":
        parts = [(x, _labels(file, y)) for x, y in parts]
        number = max(2, *(y.max() + 1 for _, y in parts))
    elif targets == "several":
        parts = [(x, _several(file, y)) for x, y in parts]
        number = parts[0][1].shape[1]
    names = () if targets == "numbers" else tuple(map(str, range(number)))
    train, *validation = [Examples(_single(x), _single(y), names, notes=tuple(notes)) for x, y in parts]
    return train, validation[0] if validation else None


def _check(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    for name in ("x", "y", *VALIDATION):
        values = arrays.get(name)
        if values is None:
            continue
        if not values.ndim or (not np.issubdtype(values.dtype, np.number) and values.dtype != bool):
            raise ValueError(
                f"The array '{name}' of {file} must hold numbers. Received: {values.dtype} {values.shape}."
            )
        wrong = 0 if not np.issubdtype(values.dtype, np.inexact) else int((~np.isfinite(values)).sum())
        if wrong:
            raise ValueError(
                f"The array '{name}' of {file} has {counted(wrong, 'value')} that {'is' if wrong == 1 else 'are'} NaN or "
                "infinite. Remove them."
            )
    for x, y in (("x", "y"), VALIDATION):
        if x in arrays and (len(arrays[x]) != len(arrays[y]) or not len(arrays[x])):
            raise ValueError(
                f"'{x}' and '{y}' of {file} must have equal lengths, above 0: {len(arrays[x])} and {len(arrays[y])}."
            )


def _labels(file: Path, values: np.ndarray) -> np.ndarray:
    if not _are_whole(values) or values.min() < 0:
        raise ValueError(
            f"Labels are whole numbers, counted from 0. Received in {file}: {values.dtype} {values.shape}, "
            f"{values.min():g} to {values.max():g}."
        )
    return values.astype("int32")


def _several(file: Path, values: np.ndarray) -> np.ndarray:
    if values.ndim != 2 or not np.isin(values, (0, 1)).all():
        what = f"{values.dtype} {values.shape}"
        raise ValueError(f"Several labels are a column of 0 and 1 for each. Received in {file}: {what}.")
    return values.astype("float32")


def _single(values: np.ndarray) -> np.ndarray:
    """Doubles in single precision, as Keras takes them."""
    return values.astype("float32") if values.dtype == "float64" else values


def _column(values: np.ndarray) -> np.ndarray:
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _is_one_hot(values: np.ndarray) -> bool:
    return values.ndim == 2 and bool(np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all())


def _are_whole(values: np.ndarray) -> bool:
    return values.ndim == 1 and (
        not np.issubdtype(values.dtype, np.inexact) or bool((values == np.floor(values)).all())
    )


def _leaves_none_out(values: np.ndarray) -> bool:
    """Whether all whole numbers from 0 to the largest occur."""
    return _are_whole(values) and np.array_equal(np.unique(values), np.arange(len(np.unique(values))))
