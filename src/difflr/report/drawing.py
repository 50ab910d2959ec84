"""What all plots share: axes, colors, legends, and nothing that changes matplotlib for others."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from difflr.report.labels import evenly, fitting_labels, shortened
from difflr.report.phase_spans import Span

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
else:  # matplotlib is imported when something is drawn
    Axes = Any

# Okabe and Ito's colors, which color-blind readers tell apart, without yellow and black, which paper or a dark page
# swallows. Lines differ in their dashes as well, points in their markers.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
MAP = "viridis"
GRAY = "#8C8C8C"
FROZEN: dict[str, Any] = {"facecolor": "#D9D9D9", "edgecolor": GRAY, "hatch": "////", "linewidth": 0}
LABEL_HEIGHT = 0.17  # inches, of small text
MAX_LABEL = 40  # characters
MAX_TICKS = 8
DECADES = 30.0  # a line whose quartiles are further apart than this gets a logarithmic axis


def new_axes(height: float = 4.0) -> Axes:
    """Axes of a new figure.

    Args:
        height: Float, in inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('Plots need matplotlib: pip install "difflr[plot]"') from None
    return pyplot.subplots(figsize=(7, height), layout="constrained")[1]


def height_for(num_labels: int) -> float:
    """The height in inches of a figure with so many labels; above some number they are thinned out instead."""
    return min(max(2.6, 0.2 * num_labels + 1.4), 9.0)


def line_styles(number: int) -> list[dict[str, Any]]:
    """Color and dash of so many lines; many lines are layers in order, and the color shows the depth."""
    dashes = itertools.cycle(DASHES) if number <= 2 * len(COLORS) else itertools.repeat("-")
    if number <= len(COLORS):
        colors: Sequence[Any] = COLORS
    else:
        import matplotlib

        colors = list(matplotlib.colormaps[MAP](np.linspace(0, 0.9, number)))
    return [{"color": color, "linestyle": dash} for color, dash in zip(colors[:number], dashes, strict=False)]


def legend(axes: Axes, handles: Sequence["Artist"], names: Sequence[str], outside: bool) -> None:
    """A legend: below axes that are alone in their figure, else where matplotlib finds room.

    Args:
        axes: The axes.
        handles: What is explained.
        names: The names, as they are: no dollar or underscore in them has a meaning.
        outside: Whether it goes below the axes.
    """
    place: dict[str, Any] = {"loc": "best"}
    names = shortened(names, MAX_LABEL)
    if outside:
        column = 0.6 + 0.072 * max(map(len, names), default=0)  # inches
        columns = min(max(1, int(figure_width(axes) / column)), 4, max(1, len(names)))
        below = (0.5, -0.55 / axis_inches(axes)[1])  # clears the axis at any height of the figure
        place = {"loc": "upper center", "bbox_to_anchor": below, "ncols": columns, "frameon": False}
    made = axes.legend(handles, [""] * len(names), fontsize="small", **place)
    for text, name in zip(made.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def figure_width(axes: Axes) -> float:
    """The width of the figure, in inches."""
    return float(axes.figure.bbox.width / axes.figure.dpi)


def axis_inches(axes: Axes) -> tuple[float, float]:
    """Width and height of axes, in inches."""
    box = axes.get_window_extent()
    dpi = axes.figure.dpi
    return box.width / dpi, box.height / dpi


def label_layers(axes: Axes, paths: Sequence[str]) -> None:
    """Names the layers along the vertical axis, from top to bottom; where there is no room, blocks or every so many.

    Args:
        axes: The axes; layer `i` is at `i`.
        paths: The paths of the layers.
    """
    room = max(2, int(axis_inches(axes)[1] / LABEL_HEIGHT))
    labels = fitting_labels(paths, room)
    longest = min(MAX_LABEL, max(10, int(4.8 * figure_width(axes))))
    axes.set_yticks([position for position, _ in labels])
    names = shortened([label for _, label in labels], longest)
    axes.set_yticklabels(names, fontsize="small", parse_math=False)
    axes.set_ylim(len(paths) - 0.5, -0.5)


def horizontal_grid(axes: Axes) -> None:
    """Faint lines at the ticks of the vertical axis."""
    axes.grid(axis="y", color=GRAY, alpha=0.3, linewidth=0.6)


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high` for a logarithmic axis.

    Args:
        low: Float > 0.
        high: Float >= `low`.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    fine, coarse = (
        [
            tick
            for power in powers
            for step in steps
            if low * 0.999 <= (tick := float(f"{step}e{power}")) <= high * 1.001
        ]
        for steps in ((1, 2, 5), (1,))
    )
    ticks = fine if len(fine) <= MAX_TICKS else coarse
    return [ticks[number] for number in evenly(len(ticks), MAX_TICKS)] or [low]


def plain_ticks(axis: "Axis", low: float, high: float) -> None:
    """Ticks of a logarithmic axis that are plain numbers.

    Args:
        axis: The axis.
        low: Float > 0, the lowest value drawn.
        high: Float, the highest.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def log_axis(axes: Axes, name: str, low: float, high: float) -> tuple[float, float]:
    """Makes an axis logarithmic, with some room around the values drawn.

    Args:
        axes: The axes.
        name: `"x"` or `"y"`.
        low: Float > 0, the lowest value drawn.
        high: Float, the highest.

    Returns:
        Where the axis begins and ends.
    """
    low, high = (low, high) if high > 1.5 * low else (low / 2, high * 2)
    room = (high / low) ** 0.06
    getattr(axes, f"set_{name}scale")("log", nonpositive="mask")
    getattr(axes, f"set_{name}lim")(low / room, high * room)
    plain_ticks(axes.xaxis if name == "x" else axes.yaxis, low, high)
    return low / room, high * room


def log_axis_for_decades(axes: Axes, lines: Iterable[np.ndarray]) -> None:
    """A logarithmic vertical axis, if the peaks of the lines, or most of one line, span more than a decade or two.

    The tail of a schedule that ends near 0 is no reason; on a logarithmic axis it leaves the axes at the bottom.

    Args:
        axes: The axes.
        lines: The values of each line.
    """
    positive = [line[np.isfinite(line) & (line > 0)] for line in map(np.asarray, lines)]
    positive = [line for line in positive if len(line)]
    if not positive:
        return
    peaks = [line.max() for line in positive]
    bulk = [np.quantile(line, [0.25, 0.75]) for line in positive]
    if max(peaks) >= 10 * min(peaks) or any(high > DECADES * low for low, high in bulk):
        lowest = max(min(line.min() for line in positive), min(min(peaks), min(low for low, _ in bulk)) / 100)
        log_axis(axes, "y", lowest, max(peaks))


def mark_phases(axes: Axes, spans: Sequence[Span], first: float, last: float) -> None:
    """Draws a line where a phase begins, dashed if that is only the earliest possible time, and names the phases.

    Args:
        axes: The axes, along which the phases lie horizontally.
        spans: The phases.
        first: Where the horizontal axis begins.
        last: Where it ends.
    """
    full_height = axes.get_xaxis_transform()
    for before, span in itertools.pairwise(spans):
        axes.vlines(span.begins, 0, 1, "white", linewidth=2.6, transform=full_height)
        dash = "--" if before.at_least else "-"
        axes.vlines(span.begins, 0, 1, "black", dash, linewidth=1, transform=full_height)
    width = axis_inches(axes)[0] * 0.8  # what labels and a color bar leave of it
    for span in spans:
        begins, ends = max(span.begins, first), min(span.ends, last)
        room = (ends - begins) / (last - first) * width
        text = f"phase {span.number + 1}" if room > 0.6 else str(span.number + 1) if room > 0.1 else ""
        axes.annotate(
            text,
            ((begins + ends) / 2, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            annotation_clip=False,
            ha="center",
            va="bottom",
            fontsize="small",
        )


def time_label(unit: str, spans: Sequence[Span]) -> str:
    """The label of an axis along which phases lie."""
    return f"{unit} (dashed: at the earliest)" if any(span.at_least for span in spans[:-1]) else unit


def whole_numbers(axes: Axes) -> None:
    """Lets the horizontal axis count in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
