"""The confusion matrix: right in one color, mistakes in another, on a light page and on a dark one."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from difflr.report import drawing
from difflr.report.labels import evenly, shortened

MOST_NUMBERED = 20  # classes, with the number in each cell
LONGEST = 18


def confusion_height(num_classes: int) -> float:
    """The height of the plot in inches."""
    return min(max(3.4, 0.3 * num_classes + 1.6), 8.5)


def draw_confusion(axes: drawing.Axes, counts: np.ndarray, class_names: Sequence[str]) -> None:
    """Draws a confusion matrix; the color of a cell is its share of the row.

    Args:
        axes: The axes.
        counts: Integer array `(num_classes, num_classes)`: a row for what the examples are, a column for what they were
            taken for.
        class_names: The names.
    """
    from matplotlib.colors import to_rgb

    number = len(counts)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    colors = np.empty((number, number, 4))
    colors[...] = (*to_rgb(drawing.COLORS[1]), 0)
    colors[np.arange(number), np.arange(number), :3] = to_rgb(drawing.COLORS[0])
    colors[..., 3] = np.where(counts > 0, 0.12 + 0.88 * share, 0)
    axes.imshow(colors, interpolation="nearest", aspect="auto")
    places = evenly(number, 40)
    names = shortened(class_names, LONGEST)
    axes.set_xticks(places, [names[place] for place in places], rotation=90 if number > 3 else 0, parse_math=False)
    axes.set_yticks(places, [names[place] for place in places], parse_math=False)
    axes.tick_params(labelsize="small", length=0)
    axes.set_xticks(np.arange(number + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(number + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=drawing.GRAY, alpha=0.25, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("taken for")
    axes.set_ylabel("what it is")
    if number > MOST_NUMBERED:
        return
    size = 9 if number <= 12 else 7
    for row, column in zip(*np.nonzero(counts), strict=True):
        dark: dict[str, Any] = {"color": "white"} if colors[row, column, 3] > 0.6 else {}
        axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=size, **dark)
