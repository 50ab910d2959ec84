"""Whose state it is: Keras saves the state of an optimizer by position, without names."""

import json
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from difflr.checks import listed, shown
from difflr.plan import Row, saved_plan

LAYOUT = "layout"

# For each row of a plan: its name, as far as it survives loading, and the number of its group (-1: it has no state).
Layout = list[list[Any]]


def layout(rows: Sequence[Row], numbers: Sequence[int]) -> Layout:
    """The layout of a state.

    Args:
        rows: The rows of the plan.
        numbers: For each row the number of its group, -1 where it is frozen.
    """
    return [[saved_plan.short_name(row.variable), number] for row, number in zip(rows, numbers, strict=True)]


def as_array(data: Any) -> np.ndarray:
    """Plain data in the only form that Keras's stores take, with a checksum: HDF5 itself has none."""
    text = json.dumps(data).encode()
    return np.frombuffer(_checksum(text) + text, dtype="uint8")


def from_array(array: Any) -> Any:
    """What `as_array` wrote.

    Raises:
        ValueError: If it was damaged since.
    """
    try:
        written = np.asarray(array, dtype="uint8").tobytes()
        if written[:_CHECKSUM] == _checksum(written[_CHECKSUM:]):
            return json.loads(written[_CHECKSUM:])
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError(
        "What was saved about the optimizer's plan is damaged: its checksum is another. Use another copy of the file, or "
        "load the model with `compile=False` and compile it anew."
    )


def layout_from_array(array: Any) -> Layout:
    """The layout that `as_array` wrote.

    Raises:
        ValueError: If it was damaged, or is none.
    """
    saved = from_array(array)
    fits = isinstance(saved, list) and all(isinstance(each, list) and len(each) == 2 for each in saved)
    if not fits or not all(isinstance(name, str) and type(number) is int for name, number in saved):
        raise ValueError(f"The saved state has no list of the variables it is of. Received: {shown(saved)}.")
    return saved


_CHECKSUM = 8


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):0{_CHECKSUM}x}".encode()


def difference(saved: Layout, mine: Layout, rows: Sequence[Row]) -> str:
    """How a saved layout differs, told to a user; empty if the state fits.

    Args:
        saved: The layout of the saved state.
        mine: The layout of the optimizer.
        rows: The rows of its plan.
    """
    if len(saved) != len(mine):  # Keras does not list the variables of layers that were saved as not trainable
        saved, mine = ([each for each in layout if each[1] >= 0] for layout in (saved, mine))
        rows = [row for row in rows if not row.frozen]
    if saved == mine:
        return ""
    there, here = [name for name, _ in saved], [name for name, _ in mine]
    if there != here:
        missing, new = [name for name in there if name not in here], [name for name in here if name not in there]
        return saved_plan.report("state", len(there) - len(missing), missing, new, [])
    said = [
        f"{row.path} ({_said(was)} in the file, {_said(now)} here)"
        for row, (_, was), (_, now) in zip(rows, saved, mine, strict=True)
        if was != now
    ]
    return f"It was saved with another plan: {listed(said)}."


def _said(number: int) -> str:
    return f"group {number + 1}" if number >= 0 else "frozen"
