"""Whose state it is: Keras saves the state of an optimizer by position, without names."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from difflr.plan import Row, binding

LAYOUT = "layout"

# For each row of a plan: its name, as far as it survives loading, and the number of its group (-1: it has no state).
Layout = list[list[Any]]


def layout(rows: Sequence[Row], numbers: Sequence[int]) -> Layout:
    """The layout of a state.

    Args:
        rows: The rows of the plan.
        numbers: For each row the number of its group, -1 where it is frozen.
    """
    return [[binding.short_name(row.variable), number] for row, number in zip(rows, numbers, strict=True)]


def as_array(layout: Layout) -> np.ndarray:
    """A layout in the only form that Keras's stores take."""
    return np.frombuffer(json.dumps(layout).encode(), dtype="uint8")


def from_array(array: Any) -> Layout:
    """The layout that `as_array` wrote."""
    return json.loads(np.asarray(array, dtype="uint8").tobytes().decode())


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
        return binding.report("state", len(there) - len(missing), missing, new, [])
    said = [
        f"{row.path} ({_said(was)} in the file, {_said(now)} here)"
        for row, (_, was), (_, now) in zip(rows, saved, mine, strict=True)
        if was != now
    ]
    return f"It was saved with another plan: {binding.listed(said)}."


def _said(number: int) -> str:
    return f"group {number + 1}" if number >= 0 else "frozen"
