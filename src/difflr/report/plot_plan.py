"""`plot_plan`: the learning rate of every layer."""

from typing import Any

import keras

from difflr.plan import Plan
from difflr.report import drawing
from difflr.report.plan_layers import Band, as_plan, bands_of
from difflr.report.rates import Rate, first_rate

WHOLE = "whole layer"


def plot_plan(
    plan: Plan | keras.Layer, learning_rate: Rate | None = None, axes: drawing.Axes | None = None
) -> drawing.Axes:
    """Draws the learning rate of every layer, from the input at the top to the head at the bottom.

    If the variables of a layer have different rates, each has its own mark. Frozen layers are marked in a column on the
    left. In large models, blocks share a label, such as `block3_*`.

    Args:
        plan: A `difflr.Plan`; or a built model, for `difflr.plan_of(model)`.
        learning_rate: The base rate: a number, an optimizer, or a schedule (its first step counts). `None` draws the
            multipliers.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure that is high enough.

    Returns:
        The axes: `axes.figure.savefig("plan.png")` saves the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `plan` is neither a plan nor a model, or `learning_rate` is not a rate.
        ValueError: If `learning_rate` is not above 0.

    Example:

    ```python
    import difflr

    plan = difflr.layerwise_decay(model, 0.5) * difflr.bias_double(model)
    axes = difflr.plot_plan(plan, learning_rate=1e-3)
    ```
    """
    bands, rate = bands_of(as_plan(plan)), None if learning_rate is None else first_rate(learning_rate)
    own_figure = axes is None
    axes = drawing.new_axes(drawing.height_for(len({band.layer for band in bands}))) if axes is None else axes
    draw_plan(axes, bands, rate, own_figure)
    label = "multiplier" if learning_rate is None else "learning rate"
    if any(band.row.schedule is not None and not band.row.frozen for band in bands):
        label += ", without the groups' own schedules"
    axes.set_xlabel(label)
    return axes


def draw_plan(axes: drawing.Axes, bands: list[Band], rate: float | None, outside: bool) -> None:
    """Draws the marks.

    Args:
        axes: The axes.
        bands: The layers, divided where their variables have different rates.
        rate: Float > 0, the base rate; `None` to draw the multipliers.
        outside: Whether the legend goes below the axes.
    """
    layers = list(dict.fromkeys(band.layer for band in bands))
    position = {layer: number for number, layer in enumerate(layers)}
    trainable, frozen = [b for b in bands if not b.row.frozen], [b for b in bands if b.row.frozen]
    rates = [band.rate(rate) for band in trainable] or [rate or 1.0]
    left, right = drawing.log_axis(axes, "x", min(rates), max(rates))
    size = 6 if len(layers) <= 40 else 3.5
    handles, names = [], []
    for number, (kind, some) in enumerate(_by_variable(trainable).items()):
        xs, ys = [band.rate(rate) for band in some], [position[band.layer] for band in some]
        look: dict[str, Any] = {"marker": drawing.MARKERS[number], "color": drawing.COLORS[number], "linestyle": ""}
        handles += axes.plot(xs, ys, markersize=size, alpha=0.85, **look)
        names.append(kind)
    if frozen:
        column = (right / left) ** 0.09
        axes.axvspan(left / column, left, zorder=0, **drawing.FROZEN)
        ys = [position[band.layer] for band in frozen]
        xs = [left / column**0.5] * len(ys)
        handles += axes.plot(xs, ys, linestyle="", marker="x", color="#404040", markersize=size)
        names.append("frozen")
        axes.set_xlim(left / column, right)
    drawing.label_layers(axes, layers)
    axes.grid(axis="x", color=drawing.GRAY, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    if names != [WHOLE]:
        drawing.legend(axes, handles, names, outside)


def _by_variable(bands: list[Band]) -> dict[str, list[Band]]:
    """The bands by the variables they stand for, the commonest first; the rarest together."""
    kinds: dict[str, list[Band]] = {}
    for band in bands:
        kinds.setdefault(band.variables or WHOLE, []).append(band)
    common = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    rare = common[len(drawing.MARKERS) - 1 :] if len(common) > len(drawing.MARKERS) else []
    found = {kind: kinds[kind] for kind in common if kind not in rare}
    return {**found, "others": [band for kind in rare for band in kinds[kind]]} if rare else found
