"""A map on a logarithmic color scale: a row for each layer or group, a column for each step or epoch."""

import numpy as np

from difflr.report import drawing


def draw_heat_map(
    axes: drawing.Axes,
    values: np.ndarray,
    edges: np.ndarray,
    label: str,
    hatched: tuple[np.ndarray, str],
    white: tuple[np.ndarray, str],
) -> None:
    """Draws the map; an infinite value has the highest color.

    Args:
        axes: The axes.
        values: Float array `(rows, columns)`; what is not above 0 is hatched or white.
        edges: Array `(columns + 1,)`: where the columns begin, and where the last one ends.
        label: What the colors mean; empty for one color and no color bar.
        hatched: Boolean array of the cells that are hatched, and what that means.
        white: Likewise the cells that are white.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, LogNorm
    from matplotlib.patches import Patch, Rectangle

    low, high = color_range(values)
    norm = LogNorm(low, high, clip=True)
    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=-1, **drawing.FROZEN))
    rows = np.arange(len(values) + 1) - 0.5
    colored = np.ma.masked_where(~(values > 0), np.minimum(values, high))
    colors = drawing.MAP if label else ListedColormap([drawing.COLORS[0]])
    # Rasterized: in SVG it is one image, not a path for each of 80,000 cells.
    axes.pcolormesh(edges, rows, colored, norm=norm, cmap=colors, rasterized=True)
    axes.set_xlim(edges[0], edges[-1])
    if label:
        below, above = (values[values > 0] < 0.999 * low).any(), (values > 1.001 * high).any()
        tips = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
        mappable, extend = ScalarMappable(norm, drawing.MAP), tips[bool(below), bool(above)]
        bar = axes.figure.colorbar(mappable, ax=axes, label=label, pad=0.02, extend=extend)
        drawing.plain_ticks(bar.ax.yaxis, low, high)
    handles, names = [], []
    if hatched[0].any():
        handles.append(Patch(**drawing.FROZEN))
        names.append(hatched[1])
    if white[0].any():
        blank = np.ma.masked_where(~white[0], np.zeros(values.shape))
        axes.pcolormesh(edges, rows, blank, cmap=ListedColormap(["white"]), rasterized=True)
        handles.append(Patch(facecolor="white", edgecolor=drawing.GRAY))
        names.append(white[1])
    if handles:
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "borderaxespad": 1.6, "frameon": False}
        axes.legend(handles, names, fontsize="small", **place)


def color_range(values: np.ndarray) -> tuple[float, float]:
    """Where a logarithmic color scale for some rows begins and ends.

    It begins at a tenth of the highest value of the lowest row, so that the long tail of a schedule does not take all
    colors; smaller values have the lowest color.

    Args:
        values: Float array `(rows, columns)`; only finite values above 0 count.
    """
    positive = np.where((values > 0) & np.isfinite(values), values, np.nan)
    peaks = [row[~np.isnan(row)].max() for row in positive if not np.isnan(row).all()]
    if not peaks:
        return 0.5, 2.0
    low, high = max(np.nanmin(positive), min(peaks) / 10), max(peaks)
    return (low, high) if high > 1.01 * low else (low / 2, high * 2)
