"""A map on a logarithmic colour scale: a row for each layer or group, a column for each step or epoch."""

from typing import TYPE_CHECKING

import numpy as np

from difflr.report import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_heat_map(
    axes: "Axes",
    values: np.ndarray,
    edges: np.ndarray,
    label: str,
    hatched: tuple[np.ndarray, str],
    white: tuple[np.ndarray, str],
) -> None:
    """Draws the map; an infinite value has the highest colour.

    Args:
        axes: The axes.
        values: Float array `(rows, columns)`; what is not above 0 is hatched or white.
        edges: Array `(columns + 1,)`: where the columns begin, and where the last one ends.
        label: What the colours mean.
        hatched: Boolean array of the cells that are hatched, and what that means.
        white: Likewise the cells that are white.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    norm = drawing.colour_scale(values)
    drawing.frozen_background(axes)
    rows = np.arange(len(values) + 1) - 0.5
    coloured = np.ma.masked_where(~(values > 0), np.minimum(values, norm.vmax))
    # Rasterized: in SVG it is one picture, not a path for each of 80,000 cells.
    axes.pcolormesh(edges, rows, coloured, norm=norm, cmap=drawing.MAP, rasterized=True)
    axes.set_xlim(edges[0], edges[-1])
    drawing.colour_bar(axes, norm, label, values)
    handles, names = [], []
    if hatched[0].any():
        handles.append(Patch(**drawing.FROZEN))
        names.append(hatched[1])
    if white[0].any():
        blank = np.ma.masked_where(~white[0], np.zeros(values.shape))
        axes.pcolormesh(edges, rows, blank, cmap=ListedColormap(["white"]), rasterized=True)
        handles.append(Patch(facecolor="white", edgecolor=drawing.GREY))
        names.append(white[1])
    if handles:
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "borderaxespad": 1.6, "frameon": False}
        axes.legend(handles, names, fontsize="small", **place)
