"""The picture of a plan: the rate of every layer."""

from typing import Any

import numpy as np

from difflr.report import drawing
from difflr.report.plan_layers import Lane, as_plan, base_rate, lanes_of, rates_at

WHOLE = "whole layer"


def plot_plan(plan: Any, learning_rate: Any = None, axes: Any = None) -> Any:
    """Draws the learning rate of every layer, from the input at the top to the head at the bottom.

    Where the variables of a layer have different rates, each has a mark of its own. What is frozen stands in a column at
    the left. Where there is no room to name every layer, blocks are named, as in `block3_*`.

    Args:
        plan: A `difflr.Plan`; or a built model, for the plan of its optimizer or what its layers declare.
        learning_rate: The base rate: a number, an optimizer, or a schedule, of which the first step counts. `None` draws
            the multipliers.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure that is high enough.

    Returns:
        The axes: `axes.figure.savefig("plan.png")` saves the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `plan` is neither a plan nor a model, or `learning_rate` is no rate.
        ValueError: If `learning_rate` is not above 0.

    Example:

    ```python
    import difflr

    plan = difflr.layerwise_decay(model, 0.5) * difflr.bias_double(model)
    axes = difflr.plot_plan(plan, learning_rate=1e-3)
    ```
    """
    plan = as_plan(plan)
    rate = 1.0 if learning_rate is None else float(rates_at(base_rate(learning_rate), np.zeros(1, "int64"))[0])
    lanes = lanes_of(plan)
    layers = list(dict.fromkeys(lane.layer for lane in lanes))
    own_figure = axes is None
    axes = drawing.new_axes(drawing.height_for(len(layers))) if own_figure else axes
    draw_plan(axes, lanes, layers, rate, own_figure)
    what = "multiplier" if learning_rate is None else "learning rate"
    if any(lane.rows[0].schedule is not None and not lane.frozen for lane in lanes):
        what += ", without the groups' own schedules"
    axes.set_xlabel(what)
    return axes


def draw_plan(axes: Any, lanes: list[Lane], layers: list[str], rate: float, outside: bool) -> None:
    """Draws the marks.

    Args:
        axes: The axes.
        lanes: What is treated alike.
        layers: The layers in order.
        rate: Float > 0, the base rate.
        outside: Whether the legend goes below the axes.
    """
    places = {layer: number for number, layer in enumerate(layers)}
    rates = [lane.multiplier * rate for lane in lanes if not lane.frozen]
    low, high = (min(rates), max(rates)) if rates else (rate, rate)
    low, high = (low, high) if high > 1.01 * low else (low / 2, high * 2)
    drawing.log_axis(axes.xaxis, low, high)
    room = (high / low) ** 0.06
    left, right = low / room, high * room
    size = 6 if len(layers) <= 40 else 3.5
    handles, names = [], []
    for number, (kind, some) in enumerate(_kinds(lanes).items()):
        xs, ys = [lane.multiplier * rate for lane in some], [places[lane.layer] for lane in some]
        look = {"marker": drawing.MARKERS[number], "color": drawing.COLOURS[number], "linestyle": ""}
        handles += axes.plot(xs, ys, markersize=size, alpha=0.85, **look)
        names.append(kind)
    frozen = [lane for lane in lanes if lane.frozen]
    if frozen:
        column = (right / left) ** 0.09
        axes.axvspan(left / column, left, zorder=0, **drawing.FROZEN)
        ys = [places[lane.layer] for lane in frozen]
        handles += axes.plot(
            [left / column**0.5] * len(ys), ys, linestyle="", marker="x", color="#404040", markersize=size
        )
        names.append("frozen")
        left /= column
    axes.set_xlim(left, right)
    drawing.label_layers(axes, layers)
    axes.grid(axis="x", color=drawing.GREY, alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    if len(names) > 1 or names != [WHOLE]:
        drawing.legend(axes, handles, names, outside)


def _kinds(lanes: list[Lane]) -> dict[str, list[Lane]]:
    """The trainable lanes by the variables they stand for, the commonest first; the rarest together."""
    kinds: dict[str, list[Lane]] = {}
    for lane in lanes:
        if not lane.frozen:
            kinds.setdefault(", ".join(lane.variables) or WHOLE, []).append(lane)
    common = sorted(kinds, key=lambda kind: -len(kinds[kind]))
    rare = common[len(drawing.MARKERS) - 1 :] if len(common) > len(drawing.MARKERS) else []
    found = {kind: kinds[kind] for kind in common if kind not in rare}
    return {**found, "others": [lane for kind in rare for lane in kinds[kind]]} if rare else found
