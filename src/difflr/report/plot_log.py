"""`plot_log`: what a training logged: rates, update ratios and gradient norms of the groups, or a metric."""

import numpy as np

from difflr.report import drawing
from difflr.report.heat_map import draw_heat_map
from difflr.report.labels import rows_of_map
from difflr.report.logs import MEASURES, AnyHistory, Log, lines_of, log_of
from difflr.report.phase_spans import logged_spans

MAX_LINES = 12
MAX_MARKED = 30  # epochs
VARIABLES = (
    "kernel",
    "bias",
    "gamma",
    "beta",
    "embeddings",
    "depthwise_kernel",
    "pointwise_kernel",
    "recurrent_kernel",
)


def plot_log(history: AnyHistory, measure: str = "learning_rate", axes: drawing.Axes | None = None) -> drawing.Axes:
    """Draws a logged measure of a training over its epochs.

    The learning rates, update ratios and gradient norms of groups need `difflr.GroupLogger` among the callbacks. Each
    group is a line on a logarithmic axis; more than 12 groups become a map with a row each. Any other name is a metric,
    drawn with its `val_` counterpart. Phases of `difflr.PhaseScheduler` are marked.

    Args:
        history: The history that `fit` returned, a mapping from names to lists, or the path of a file that
            `keras.callbacks.CSVLogger` wrote.
        measure: `"learning_rate"`, `"update_ratio"`, `"gradient_norm"`, or the name of a metric, such as `"loss"`.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.

    Returns:
        The axes: `axes.figure.savefig("log.png")` saves the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `history` is none of these.
        ValueError: If the measure is not in it.

    Example:

    ```python
    import difflr

    log = {"learning_rate/backbone": [1e-4, 1e-4, 5e-5], "learning_rate/head": [1e-3, 1e-3, 5e-4]}
    axes = difflr.plot_log(log, "learning_rate")
    ```
    """
    log = log_of(history)
    lines, _ = lines_of(log, measure)
    own_figure = axes is None
    axes = drawing.new_axes(drawing.height_for(max(len(lines), MAX_LINES))) if axes is None else axes
    draw_log(axes, log, measure, own_figure)
    return axes


def draw_log(axes: drawing.Axes, log: Log, measure: str, outside: bool) -> None:
    """Draws a measure: lines, or a map of many groups.

    Args:
        axes: The axes.
        log: The log.
        measure: As in `plot_log`.
        outside: Whether a legend goes below the axes.
    """
    lines, label = lines_of(log, measure)
    if len(lines) > MAX_LINES:
        order, names = rows_of_map([_layer_and_variable(name) for name in lines])
        values = np.array(list(lines.values()))[order]
        edges = np.append(log.epochs, log.epochs[-1] + 1) - 0.5
        zero, missing = (values <= 0, "0, or frozen"), (np.isnan(values), "not measured")
        draw_heat_map(axes, values, edges, label, zero, missing)
        drawing.label_layers(axes, names)
    else:
        draw_lines(axes, log.epochs, lines, measure in MEASURES, outside)
        axes.set_ylabel(drawing.shortened([label], drawing.MAX_LABEL)[0], parse_math=False)
    spans = logged_spans(log.epochs, log.phases)
    if len(spans) > 1:
        first, last = axes.get_xlim()
        drawing.mark_phases(axes, spans, first, last)
    axes.set_xlabel("epoch")
    drawing.whole_numbers(axes)


def draw_lines(
    axes: drawing.Axes, epochs: list[int], lines: dict[str, np.ndarray], positive: bool, outside: bool
) -> None:
    """Draws a line for each name.

    Args:
        axes: The axes.
        epochs: The epochs.
        lines: Name -> values.
        positive: Whether the axis is logarithmic and what is not above 0 is left out; else the axis depends on the values.
        outside: Whether the legend goes below the axes.
    """
    handles, marker = [], "o" if len(epochs) <= MAX_MARKED else ""
    infinite = [epoch for v in lines.values() for epoch, value in zip(epochs, v, strict=True) if value == np.inf]
    finite = [np.where(np.isfinite(v) & ((v > 0) | (not positive)), v, np.nan) for v in lines.values()]
    for values, style in zip(finite, drawing.line_styles(len(lines)), strict=True):
        handles += axes.plot(epochs, values, marker=marker, markersize=3.5, **style)
    everything = np.concatenate(finite)
    if not positive and (everything > 0).any() and not (everything <= 0).any():
        drawing.log_axis_for_decades(axes, finite)
    elif positive and not np.isnan(everything).all():
        drawing.log_axis(axes, "y", np.nanmin(everything), np.nanmax(everything))
    if infinite:
        top = axes.get_xaxis_transform()
        handles += axes.plot(infinite, [0.97] * len(infinite), "^", color=drawing.GRAY, transform=top)
    drawing.horizontal_grid(axes)
    if len(lines) > 1 or positive:
        drawing.legend(axes, handles, [*lines, *["infinite"] * bool(infinite)], outside)


def _layer_and_variable(group: str) -> tuple[str, str]:
    """Both, out of the name of a group such as `block1/kernel+3`."""
    layer, _, last = group.rpartition("/")
    variable, plus, more = last.partition("+")
    return (f"{layer}{plus}{more}", variable) if variable in VARIABLES else (group, "")
