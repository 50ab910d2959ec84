"""The picture of what a training logged: rates, update ratios and gradient norms of the groups, or a metric."""

from typing import Any

import numpy as np

from difflr.report import drawing
from difflr.report.logs import MEASURES, Log, chosen, log_of
from difflr.report.plot_rate_map import heat_map

MAX_LINES = 12


def plot_log(history: Any, measure: str = "learning_rate", axes: Any = None) -> Any:
    """Draws what was logged while training, over the epochs.

    For each group of the plan, if `difflr.GroupLogger` was among the callbacks: its learning rate, the ratio of its
    updates to its weights, its gradient norm, on a logarithmic axis. A line each; more than 12 groups become a map with a
    row each. Any other name is that of a metric, drawn with its `val_`.

    Args:
        history: What `fit` returned, a mapping from names to lists, or the path of a file that
            `keras.callbacks.CSVLogger` wrote.
        measure: `"learning_rate"`, `"update_ratio"`, `"gradient_norm"`, or the name of a metric, such as `"loss"`.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.

    Returns:
        The axes: `axes.figure.savefig("log.png")` saves the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `history` is no history.
        ValueError: If the measure is not in it.

    Example:

    ```python
    import difflr

    log = {"learning_rate/backbone": [1e-4, 1e-4, 5e-5], "learning_rate/head": [1e-3, 1e-3, 5e-4]}
    axes = difflr.plot_log(log, "learning_rate")
    ```
    """
    log = log_of(history)
    lines, _ = chosen(log, measure)
    own_figure = axes is None
    axes = drawing.new_axes(drawing.height_for(len(lines) if len(lines) > MAX_LINES else 12)) if own_figure else axes
    draw_log(axes, log, measure, own_figure)
    return axes


def draw_log(axes: Any, log: Log, measure: str, outside: bool) -> None:
    """Draws a measure: lines, or a map of many groups.

    Args:
        axes: The axes.
        log: The log.
        measure: As in `plot_log`.
        outside: Whether a legend goes below the axes.
    """
    lines, what = chosen(log, measure)
    if len(lines) > MAX_LINES:
        edges = np.append(log.epochs, log.epochs[-1] + 1) - 0.5
        heat_map(axes, np.array(list(lines.values())), edges, what)
        drawing.label_layers(axes, list(lines))
    else:
        draw_lines(axes, log.epochs, lines, measure in MEASURES, outside)
        axes.set_ylabel(drawing.shown(what), parse_math=False)
    axes.set_xlabel("epoch")
    drawing.whole_numbers(axes)


def draw_lines(axes: Any, epochs: list[int], lines: dict[str, np.ndarray], logarithmic: bool, outside: bool) -> None:
    """Draws a line for each name.

    Args:
        axes: The axes.
        epochs: The epochs.
        lines: Name -> values.
        logarithmic: Whether the vertical axis is; what is not above 0 is then left out.
        outside: Whether the legend goes below the axes.
    """
    handles = []
    marker = "o" if len(epochs) <= 30 else ""
    for values, look in zip(lines.values(), drawing.looks(len(lines)), strict=True):
        values = np.where(values > 0, values, np.nan) if logarithmic else values
        handles += axes.plot(epochs, values, marker=marker, markersize=3.5, **look)
    above = [value for values in lines.values() for value in values if value > 0 and np.isfinite(value)]
    if logarithmic and above:
        low, high = min(above), max(above)
        low, high = (low, high) if high > 1.5 * low else (low / 2, high * 2)
        drawing.log_axis(axes.yaxis, low, high)
        axes.set_ylim(low / (high / low) ** 0.06, high * (high / low) ** 0.06)
    axes.grid(axis="y", color=drawing.GREY, alpha=0.3, linewidth=0.6)
    if len(lines) > 1 or logarithmic:
        drawing.legend(axes, handles, list(lines), outside)
