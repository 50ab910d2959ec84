"""What all pictures share: axes, colours, labels that fit, and nothing that changes matplotlib for others."""

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

# Okabe and Ito's colours, which colour-blind readers tell apart, without yellow and black, which paper or a dark page
# swallows. Lines differ in their dashes as well, points in their markers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
MAP = "viridis"
GREY = "#8C8C8C"
FROZEN: dict[str, Any] = {"facecolor": "#D9D9D9", "edgecolor": GREY, "hatch": "////", "linewidth": 0}
LABEL_HEIGHT = 0.17  # inches, of small text
MAX_LABEL = 34  # characters


def new_axes(height: float = 4.0) -> Any:
    """Axes of a new figure.

    Args:
        height: Float, in inches.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('Pictures need matplotlib: pip install "difflr[plot]"') from None
    return pyplot.subplots(figsize=(7, height), layout="constrained")[1]


def height_for(num_labels: int) -> float:
    """How high a figure has to be for so many labels, in inches; at some height they are thinned instead."""
    return min(max(2.6, 0.2 * num_labels + 1.4), 9.0)


def looks(number: int) -> list[dict[str, Any]]:
    """Colour and dash of so many lines; many are layers in order, whose depth the colour tells."""
    dashes = itertools.cycle(DASHES) if number <= 2 * len(COLOURS) else itertools.repeat("-")
    if number <= len(COLOURS):
        colours: Sequence[Any] = COLOURS
    else:
        import matplotlib

        colours = list(matplotlib.colormaps[MAP](np.linspace(0, 0.9, number)))
    return [{"color": colour, "linestyle": dash} for colour, dash in zip(colours[:number], dashes, strict=False)]


def shown(name: str, longest: int = MAX_LABEL) -> str:
    """A name as a label: cut at the front, where paths are alike, and without what no font can print."""
    name = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return name if len(name) <= longest else f"…{name[1 - longest :]}"


def evenly(number: int, most: int) -> list[int]:
    """At most so many of `number` positions, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, number - 1, min(number, most))}) if number else []


def legend(axes: Any, handles: Sequence[Any], names: Sequence[str], outside: bool, title: str | None = None) -> None:
    """A legend, below axes that are alone in their figure, else where matplotlib finds room.

    Args:
        axes: The axes.
        handles: What is explained.
        names: The names, as they are: no dollar or underscore in them has a meaning.
        outside: Whether it goes below the axes.
        title: Its title.
    """
    place: dict[str, Any] = {"loc": "best"}
    names = [shown(name) for name in names]
    if outside:
        column = 0.6 + 0.072 * max(map(len, names), default=0)  # inches
        columns = min(max(1, int(figure_width(axes) / column)), 4, max(1, len(names)))
        below = (0.5, -0.55 / axis_inches(axes)[1])  # clears the axis at any height of the figure
        place = {"loc": "upper center", "bbox_to_anchor": below, "ncols": columns, "frameon": False}
    made = axes.legend(handles, [""] * len(names), fontsize="small", title=title, title_fontsize="small", **place)
    for text, name in zip(made.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def figure_width(axes: Any) -> float:
    """The width of the figure, in inches."""
    figure = axes.figure
    return float(figure.bbox.width / figure.dpi)


def axis_inches(axes: Any) -> tuple[float, float]:
    """Width and height of axes, in inches."""
    box = axes.get_window_extent()
    dpi = axes.figure.dpi
    return box.width / dpi, box.height / dpi


def label_layers(axes: Any, paths: Sequence[str]) -> None:
    """Names the layers along the vertical axis, from top to bottom; where there is no room, blocks or every so many.

    Args:
        axes: The axes; layer `i` lies at `i`.
        paths: The layers' paths.
    """
    room = max(2, int(axis_inches(axes)[1] / LABEL_HEIGHT))
    labels = fitting_labels(paths, room)
    longest = min(MAX_LABEL, max(10, int(4.8 * figure_width(axes))))
    axes.set_yticks([place for place, _ in labels])
    axes.set_yticklabels([shown(label, longest) for _, label in labels], fontsize="small", parse_math=False)
    axes.set_ylim(len(paths) - 0.5, -0.5)


def fitting_labels(paths: Sequence[str], room: int) -> list[tuple[float, str]]:
    """At most `room` labels for layers in order: place and text.

    If not every layer can be named, neighbours whose names begin alike are named together, as in `block3_*`.

    Args:
        paths: The layers' paths.
        room: Integer >= 2.
    """
    words = [re.findall(r"[^/_]+[/_]*|[/_]+", path) for path in paths]
    thinned: list[tuple[float, str]] = []
    for length in range(max(map(len, words), default=0), 0, -1):
        runs = _runs(words, length)
        labels = [
            ((first + last) / 2, paths[first] if first == last else "".join(words[first][:length]) + "*")
            for first, last in runs
        ]
        labels = _apart([labels[number] for number in evenly(len(labels), room)], len(paths) / room)
        if len(runs) <= room:  # every block has a name, but too few blocks tell less than every so many layers
            return labels if len(labels) >= room / 4 or not thinned else thinned
        thinned = labels
    return thinned


def _runs(words: Sequence[Sequence[str]], length: int) -> list[tuple[int, int]]:
    """Neighbours with the same first words: the first and the last of each run."""
    numbers = range(len(words))
    groups = [list(group) for _, group in itertools.groupby(numbers, key=lambda number: words[number][:length])]
    return [(group[0], group[-1]) for group in groups]


def _apart(labels: list[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """The labels without those that would overlap the one before; the last, often the head, stays."""
    kept: list[tuple[float, str]] = []
    for label in labels:
        if kept and label[0] - kept[-1][0] < least * 0.999:
            if label is not labels[-1]:
                continue
            kept.pop()
        kept.append(label)
    return kept


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high` for a logarithmic axis.

    Args:
        low: Float > 0.
        high: Float >= `low`.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    inside = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
    return [inside[number] for number in evenly(len(inside), 8)] or [low]


def colour_scale(values: np.ndarray) -> Any:
    """A logarithmic colour scale for the values above 0 of some rows.

    It begins at a tenth of the highest value of the lowest row, so that the long tail of a schedule does not take all
    colours; what lies below has the lowest colour.

    Args:
        values: Float array `(rows, columns)`; NaN for nothing.
    """
    from matplotlib.colors import LogNorm

    trainable = np.where(values > 0, values, np.nan)
    peaks = [row[~np.isnan(row)].max() for row in trainable if not np.isnan(row).all()]
    if not peaks:
        return LogNorm(0.5, 2, clip=True)
    low, high = max(np.nanmin(trainable), min(peaks) / 10), max(peaks)
    return LogNorm(low, high, clip=True) if high > 1.01 * low else LogNorm(low / 2, high * 2, clip=True)


def colour_bar(axes: Any, norm: Any, label: str, lowest: float) -> None:
    """The bar that explains the colours.

    Args:
        axes: The axes beside which it goes.
        norm: Its scale.
        label: What the colours say.
        lowest: Float, the lowest value drawn; the bar has a tip if it lies below the scale.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    extend = "min" if lowest < 0.999 * norm.vmin else "neither"
    bar = axes.figure.colorbar(ScalarMappable(norm, MAP), ax=axes, label=label, pad=0.02, extend=extend)
    bar.ax.yaxis.set_major_locator(FixedLocator(log_ticks(norm.vmin, norm.vmax)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_locator(NullLocator())


def log_axis(axis: Any, low: float, high: float) -> None:
    """Makes an axis logarithmic, with ticks that are plain numbers.

    Args:
        axis: `axes.xaxis` or `axes.yaxis`.
        low: Float > 0, the lowest value drawn.
        high: Float, the highest.
    """
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    (axis.axes.set_xscale if axis.axis_name == "x" else axis.axes.set_yscale)("log", nonpositive="mask")
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def frozen_patch() -> Any:
    """What stands for frozen: grey and hatched."""
    from matplotlib.patches import Patch

    return Patch(**FROZEN)


def frozen_background(axes: Any) -> None:
    """Fills the axes with what stands for frozen; what is trainable is drawn over it."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((0, 0), 1, 1, transform=axes.transAxes, zorder=-1, **FROZEN))


def name_phases(axes: Any, spans: Sequence[Any], last: float) -> None:
    """Writes the number of each phase above it, with the word where there is room.

    Args:
        axes: The axes, along which the phases lie horizontally.
        spans: The phases.
        last: Where the horizontal axis ends.
    """
    where = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "annotation_clip": False}
    width = axis_inches(axes)[0] * 0.8  # what labels and a colour bar leave of it
    for span in spans:
        ends = min(span.ends, last)
        room = (ends - span.begins) / last * width
        text = f"phase {span.number + 1}" if room > 0.6 else str(span.number + 1) if room > 0.1 else ""
        middle = (span.begins + ends) / 2
        axes.annotate(text, (middle, 1), (0, 3), ha="center", va="bottom", fontsize="small", **where)


def over(unit: str, spans: Sequence[Any]) -> str:
    """The label of an axis along which phases lie."""
    return f"{unit} (dashed: at the earliest)" if any(span.at_least for span in spans[:-1]) else unit


def whole_numbers(axes: Any) -> None:
    """Lets the horizontal axis count in whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
