"""Phases as a chart: who is trainable when."""

from typing import Any

import numpy as np

from difflr.plan.rule import describe
from difflr.report import drawing, phase_spans
from difflr.report.plan_layers import as_plan, base_rate, lanes_of, rates_at

NO_RATE = drawing.COLOURS[0]


def plot_phases(
    phases: Any,
    plan: Any = None,
    learning_rate: Any = None,
    axes: Any = None,
    *,
    model: Any = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> Any:
    """Draws who is trainable in which phase: a row for each layer, a bar where it trains, nothing where it is frozen.

    Phases that count steps alone are drawn over steps, all others over epochs. A phase that ends on a plateau is drawn as
    short as it can be, and its end is dashed. A last phase without an end has the length of the longest before it, unless
    `epochs` tells.

    Args:
        phases: `difflr.Phases`, or a list of `difflr.Phase`.
        plan: A `difflr.Plan`, or a built model: gives the layers, and each bar the colour of its rate. `None`: a row for
            each target that the phases name.
        learning_rate: The base rate: a number, an optimizer, or a schedule, of which the first step counts. `None`
            colours by the multiplier.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.
        model: The model of the plan, needed if a phase names `"kind:head"`.
        epochs: Integer. Where `fit` ends.
        steps_per_epoch: Integer. Batches in an epoch, needed if some phases count epochs and others steps.

    Returns:
        The axes: `axes.figure.savefig("phases.png")` saves the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If an argument is of no known form.
        ValueError: If `steps_per_epoch` or `model` is missing, or the phases do not fit the plan.

    Example:

    ```python
    import difflr

    phases = difflr.phases.top_down(model, epochs=2)
    axes = difflr.plot_phases(phases, difflr.layerwise_decay(model, 0.5), epochs=6)
    ```
    """
    phases = phase_spans.checked_phases(phases)
    names, values, what = rows_of(phases, plan, learning_rate, model)
    unit, ends = _axis(phases, epochs, steps_per_epoch)
    found = _with_end(phase_spans.spans(phases, unit, steps_per_epoch), ends)
    axes = drawing.new_axes(drawing.height_for(len(names))) if axes is None else axes
    draw_phases(axes, names, values, found, what)
    axes.set_xlabel(drawing.over(unit, found))
    return axes


def rows_of(phases: Any, plan: Any, learning_rate: Any, model: Any) -> tuple[list[str], np.ndarray, str]:
    """The rows of the chart: names, rates `(rows, phases)` with NaN where frozen, and what the rates are.

    The arguments are those of `plot_phases`.
    """
    if plan is None:
        who = [
            [target if isinstance(target, str) else describe(target) for target in phase.trainable] for phase in phases
        ]
        names = list(dict.fromkeys(target for each in who for target in each))
        trainable = [[1.0 if name in each or "*" in each else np.nan for each in who] for name in names]
        return names, np.array(trainable), ""
    from difflr.plan import Plan

    model = plan if model is None and not isinstance(plan, Plan) else model
    plan = as_plan(plan)
    rate = 1.0 if learning_rate is None else float(rates_at(base_rate(learning_rate), np.zeros(1, "int64"))[0])
    sets = phase_spans.live_in(phases, plan, model)
    lanes = lanes_of(plan, lambda row: tuple(id(row.variable) in each for each in sets))
    values = [
        [lane.multiplier * rate if id(lane.rows[0].variable) in each else np.nan for each in sets] for lane in lanes
    ]
    return [lane.name for lane in lanes], np.array(values), "multiplier" if learning_rate is None else "learning rate"


def _axis(phases: Any, epochs: int | None, steps_per_epoch: int | None) -> tuple[str, float | None]:
    """The unit of the axis, and where it ends if that is known."""
    from difflr.checks import checked_steps

    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if value is not None:
            checked_steps(value, name)
    if any(phase.steps for phase in phases) and all(phase.steps or phase.endless for phase in phases):
        return "step", epochs * steps_per_epoch if epochs and steps_per_epoch else None
    return "epoch", epochs


def _with_end(spans: list[phase_spans.Span], ends: float | None) -> list[phase_spans.Span]:
    """The spans, cut where `fit` ends; the last one with an end."""
    if ends is not None:
        return [phase_spans.Span(s.number, s.begins, min(s.ends, ends), s.at_least) for s in spans if s.begins < ends]
    *before, last = spans
    if last.ends == float("inf"):
        longest = max((span.ends - span.begins for span in before), default=1)
        last = phase_spans.Span(last.number, last.begins, last.begins + longest, last.at_least)
    return [*before, last]


def draw_phases(axes: Any, names: list[str], values: np.ndarray, spans: list[phase_spans.Span], what: str) -> None:
    """Draws the bars.

    Args:
        axes: The axes.
        names: The rows, from top to bottom.
        values: Float array `(rows, phases)`; NaN where frozen.
        spans: From when to when each phase lasts.
        what: What the values are; empty for nothing that a colour could tell.
    """
    import matplotlib

    norm, colours = drawing.colour_scale(values), matplotlib.colormaps[drawing.MAP]
    thickness = 0.75 if len(names) <= 60 else 1.0
    last = spans[-1].ends
    for row, line in enumerate(values):
        for first, end, value in _bars(line, spans):
            colour = colours(norm(value)) if what else NO_RATE
            axes.barh(row, end - first, thickness, first, color=colour, linewidth=0)
    if len(names) <= 60:
        axes.hlines(range(len(names)), 0, last, color=drawing.GREY, linewidth=0.5, zorder=0)
    for span in spans:
        if span.begins:
            uncertain = spans[span.number - 1].at_least
            axes.axvline(span.begins, color=drawing.GREY, linewidth=1, linestyle="--" if uncertain else "-")
    drawing.name_phases(axes, spans, last)
    axes.set_xlim(0, last)
    drawing.whole_numbers(axes)
    drawing.label_layers(axes, names)
    if what:
        drawing.colour_bar(axes, norm, what, norm.vmin)


def _bars(values: np.ndarray, spans: list[phase_spans.Span]) -> list[tuple[float, float, float]]:
    """Begin, end and value of each bar; phases in which nothing changes make one."""
    bars: list[tuple[float, float, float]] = []
    for span in spans:
        value = float(values[span.number])
        if np.isnan(value):
            continue
        if bars and bars[-1][1:] == (span.begins, value):
            bars[-1] = (bars[-1][0], span.ends, value)
        else:
            bars.append((span.begins, span.ends, value))
    return bars
