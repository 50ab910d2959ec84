"""The rate of every layer at every step, before training."""

import dataclasses
from typing import Any

import numpy as np

from difflr.report import drawing, phase_spans
from difflr.report.plan_layers import Lane, as_plan, base_rate, lanes_of, rates_at

MAX_COLUMNS = 400


@dataclasses.dataclass(frozen=True)
class RateMap:
    """What the map shows.

    Args:
        lanes: Layers, or variables of them that are treated alike, in flow order.
        steps: Integer array `(columns,)`: the steps at which the rates were computed.
        rates: Float array `(lanes, columns)`; NaN where frozen.
        last: The step before which the map ends.
        spans: The phases that begin before.
    """

    lanes: list[Lane]
    steps: np.ndarray
    rates: np.ndarray
    last: int
    spans: list[phase_spans.Span]


def plot_rate_map(
    plan: Any,
    learning_rate: Any,
    num_steps: int,
    phases: Any = None,
    axes: Any = None,
    *,
    model: Any = None,
    steps_per_epoch: int | None = None,
) -> Any:
    """Draws the learning rate of every layer at every step as a map, before training.

    A row for each layer, from the input at the top to the head at the bottom, and for its variables apart where they have
    different rates. What is frozen is grey and hatched. Schedules of groups, phases and the warm-up of those who join
    in a phase are in it; a bias correction of their own is not. A phase that ends on a plateau is drawn as short as it
    can be, and its end is dashed.

    Args:
        plan: A `difflr.Plan`; or a built model, for the plan of its optimizer or what its layers declare.
        learning_rate: The base rate: a number, a `keras.optimizers.schedules.LearningRateSchedule`, or an optimizer.
        num_steps: Integer. How many optimizer steps (batches) to draw.
        phases: `difflr.Phases`, or a list of `difflr.Phase`.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.
        model: The model of the plan, needed if a phase names `"kind:head"`.
        steps_per_epoch: Integer. Batches in an epoch, needed if a phase lasts epochs.

    Returns:
        The axes: `axes.figure.savefig("map.png")` saves the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If an argument is of no known form.
        ValueError: If a number is out of its range, `steps_per_epoch` or `model` is missing, or the phases do not fit
            the plan.

    Example:

    ```python
    import difflr

    plan = difflr.layerwise_decay(model, 0.5)
    phases = difflr.phases.head_first(model, epochs=1)
    rate = difflr.schedules.OneCycle(1e-3, num_steps=300)
    axes = difflr.plot_rate_map(plan, rate, 300, phases, model=model, steps_per_epoch=100)
    ```
    """
    numbers = rate_map(plan, learning_rate, num_steps, phases, model=model, steps_per_epoch=steps_per_epoch)
    axes = drawing.new_axes(drawing.height_for(len(numbers.lanes))) if axes is None else axes
    draw_map(axes, numbers)
    return axes


def rate_map(
    plan: Any,
    learning_rate: Any,
    num_steps: int,
    phases: Any = None,
    *,
    model: Any = None,
    steps_per_epoch: int | None = None,
) -> RateMap:
    """The numbers of `plot_rate_map`, with its arguments."""
    from difflr.checks import checked_steps
    from difflr.plan import Plan

    model = plan if model is None and not isinstance(plan, Plan) else model
    plan = as_plan(plan)
    last = checked_steps(num_steps)
    found: list[phase_spans.Span] = []
    trainable: list[frozenset[int]] = []
    if phases is not None:
        each = None if steps_per_epoch is None else checked_steps(steps_per_epoch, "steps_per_epoch")
        phases = phase_spans.checked_phases(phases)
        trainable = phase_spans.live_in(phases, plan, model)
        found = [span for span in phase_spans.spans(phases, "step", each) if span.begins < last]
        last = int(min(last, found[-1].ends))
    begins = [int(span.begins) for span in found]
    steps = np.unique([*np.linspace(0, last - 1, MAX_COLUMNS).astype("int64"), *begins])
    lanes = lanes_of(plan, lambda row: tuple(id(row.variable) in each for each in trainable))
    base = rates_at(base_rate(learning_rate), steps)
    rates = np.full((len(lanes), len(steps)), np.nan)
    factors: dict[str, np.ndarray] = {}
    for number, lane in enumerate(lanes):
        if not lane.frozen:
            schedule = lane.rows[0].setting[2]
            if schedule not in factors:
                factors[schedule] = rates_at(lane.rows[0].schedule or 1.0, steps)
            rates[number] = base * lane.multiplier * factors[schedule]
            _apply_phases(rates[number], lane, steps, phases, found, trainable)
    return RateMap(lanes, steps, rates, last, found)


def _apply_phases(
    rates: np.ndarray, lane: Lane, steps: np.ndarray, phases: Any, spans: list[Any], trainable: list[frozenset[int]]
) -> None:
    """Takes out of `rates` the phases in which a lane is frozen, and warms it up where it joins."""
    was_live = False
    for span in spans:
        inside = (steps >= span.begins) & (steps < span.ends)
        is_trainable = id(lane.rows[0].variable) in trainable[span.number]
        if not is_trainable:
            rates[inside] = np.nan
        elif not was_live and phases[span.number].warmup_steps:
            later = steps >= span.begins
            done = steps[later] - span.begins + 1.0
            rates[later] *= np.minimum(done / phases[span.number].warmup_steps, 1.0)
        was_live = is_trainable


def draw_map(axes: Any, numbers: RateMap) -> None:
    """Draws the map.

    Args:
        axes: The axes.
        numbers: What `rate_map` returned.
    """
    heat_map(axes, numbers.rates, np.append(numbers.steps, numbers.last), "learning rate")
    drawing.label_layers(axes, [lane.name for lane in numbers.lanes])
    for span in numbers.spans:
        if span.begins:
            before = numbers.spans[span.number - 1]
            axes.axvline(span.begins, color="white", linewidth=2.6)
            axes.axvline(span.begins, color="black", linewidth=1, linestyle="--" if before.at_least else "-")
    drawing.name_phases(axes, numbers.spans, numbers.last)
    axes.set_xlabel(drawing.over("step", numbers.spans))


def heat_map(axes: Any, values: np.ndarray, edges: np.ndarray, label: str) -> None:
    """A map on a logarithmic colour scale; what is NaN is hatched, and 0 is white.

    Args:
        axes: The axes.
        values: Float array `(rows, columns)`.
        edges: Array `(columns + 1,)`: where the columns begin, and where the last one ends.
        label: What the colours say.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    norm = drawing.colour_scale(values)
    drawing.frozen_background(axes)
    rows = np.arange(len(values) + 1) - 0.5
    # Rasterized: in SVG it is one picture, not a path for each of 80,000 cells.
    trainable = np.ma.masked_where(~(values > 0), values)
    axes.pcolormesh(edges, rows, trainable, norm=norm, cmap=drawing.MAP, rasterized=True)
    axes.set_xlim(edges[0], edges[-1])
    drawing.colour_bar(axes, norm, label, trainable.min() if trainable.count() else norm.vmin)
    handles, names = [], []
    if np.isnan(values).any():
        handles, names = [drawing.frozen_patch()], ["frozen"]
    if (values == 0).any():
        zeros = np.ma.masked_where(values != 0, values)
        axes.pcolormesh(edges, rows, zeros, cmap=ListedColormap(["white"]), rasterized=True)
        handles.append(Patch(facecolor="white", edgecolor=drawing.GREY))
        names.append("trainable, at rate 0")
    if handles:
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "ncols": 2, "borderaxespad": 1.6, "frameon": False}
        axes.legend(handles, names, fontsize="small", **place)
