"""`plot_phases`: a chart of who is trainable when."""

import math

import keras
import numpy as np

from difflr.checks import checked_steps
from difflr.phases import Phases
from difflr.plan import Plan
from difflr.plan.rule import describe
from difflr.report import drawing
from difflr.report.heat_map import draw_heat_map
from difflr.report.labels import MANY_ROWS, rows_of_map
from difflr.report.phase_spans import AnyPhases, Span, checked_phases, counts_steps, plans_in, spans
from difflr.report.plan_layers import as_plan, bands_of, rate_of
from difflr.report.rates import Rate, first_rate


def plot_phases(
    phases: AnyPhases,
    plan: Plan | keras.Layer | None = None,
    learning_rate: Rate | None = None,
    axes: drawing.Axes | None = None,
    *,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> drawing.Axes:
    """Draws which layers train in which phase: a row for each layer, hatched where it is frozen.

    If all phases count steps, the axis has steps, otherwise epochs. A phase that ends by a metric is drawn at its minimum
    length, with a dashed end. A last phase without an end is as long as the longest before it, unless
    `epochs` is given.

    Args:
        phases: `difflr.Phases`, or a list of `difflr.Phase`.
        plan: A `difflr.Plan`, or a built model: a row for each layer, colored by its rate. `None`: a row for
            each target that the phases name.
        learning_rate: The base rate: a number, an optimizer, or a schedule (its first step counts). `None` colors by the
            multiplier.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.
        epochs: Integer, the epochs of `fit`.
        steps_per_epoch: Integer. Batches in an epoch, needed if some phases count epochs and others steps.

    Returns:
        The axes: `axes.figure.savefig("phases.png")` saves the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If an argument has the wrong type.
        ValueError: If `steps_per_epoch` is missing, or the phases do not fit the plan.

    Example:

    ```python
    import difflr

    phases = difflr.phases.top_down(model, epochs=2)
    axes = difflr.plot_phases(phases, difflr.layerwise_decay(model, 0.5), epochs=6)
    ```
    """
    phases = checked_phases(phases)
    names, values, label = rows_of(phases, plan, learning_rate)
    for name, value in (("epochs", epochs), ("steps_per_epoch", steps_per_epoch)):
        if value is not None:
            checked_steps(value, name)
    unit, last = "epoch", epochs
    if counts_steps(phases):
        unit, last = "step", epochs * steps_per_epoch if epochs and steps_per_epoch else None
    found = cut(spans(phases, unit, steps_per_epoch), last)
    axes = drawing.new_axes(drawing.height_for(len(names))) if axes is None else axes
    draw_phases(axes, names, values, found, label)
    axes.set_xlabel(drawing.time_label(unit, found))
    return axes


def rows_of(
    phases: Phases, plan: Plan | keras.Layer | None = None, learning_rate: Rate | None = None
) -> tuple[list[str], np.ndarray, str]:
    """The rows of the chart: names, rates `(rows, phases)` with NaN where frozen, and what the rates are.

    The arguments are those of `plot_phases`.
    """
    if plan is None:
        targets = [
            [target if isinstance(target, str) else describe(target) for target in phase.trainable] for phase in phases
        ]
        names = list(dict.fromkeys(target for in_phase in targets for target in in_phase))
        trainable = [[1.0 if {name, "*"} & set(in_phase) else np.nan for in_phase in targets] for name in names]
        return names, np.array(trainable), ""
    rates = [first_rate(learning_rate)]
    for phase in phases:  # a phase sets the base rate for itself and those after it
        rates.append(phase.learning_rate or rates[-1])
    known = learning_rate is not None or phases[0].learning_rate is not None
    plans = plans_in(phases, as_plan(plan), [0] * len(phases), rates[0] if known else None)
    bands = bands_of(*plans)
    order, names = rows_of_map([(band.layer, band.variables) for band in bands])
    rows = [[in_force.row(bands[number].row.variable) for in_force in plans] for number in order]
    base_rates = rates[1:] if known else [None] * len(phases)
    values = [
        [np.nan if row.frozen else rate_of(row, rate) for row, rate in zip(in_phases, base_rates, strict=True)]
        for in_phases in rows
    ]
    return names, np.array(values), "learning rate" if known else "multiplier"


def cut(spans: list[Span], last: float | None) -> list[Span]:
    """The spans, cut where `fit` ends.

    Args:
        spans: The spans.
        last: Where `fit` ends; `None` if that is not known: a last span without an end is as long as the longest.
    """
    if last is None:
        longest = max((span.ends - span.begins for span in spans[:-1]), default=1)
        last = min(spans[-1].ends, spans[-1].begins + longest) if spans[-1].ends == math.inf else spans[-1].ends
    return [Span(s.number, s.begins, min(s.ends, last), s.at_least) for s in spans if s.begins < last]


def draw_phases(axes: drawing.Axes, names: list[str], values: np.ndarray, spans: list[Span], label: str) -> None:
    """Draws the chart.

    Args:
        axes: The axes.
        names: The rows, from top to bottom.
        values: Float array `(rows, phases)`; NaN where frozen.
        spans: When each phase begins and ends.
        label: What the values are; empty for one color.
    """
    edges = np.array([*(span.begins for span in spans), spans[-1].ends])
    values = values[:, [span.number for span in spans]]
    draw_heat_map(axes, values, edges, label, (np.isnan(values), "frozen"), (values == 0, "trainable, at rate 0"))
    if len(names) <= MANY_ROWS:
        axes.hlines(np.arange(1, len(names)) - 0.5, edges[0], edges[-1], "white", linewidth=3)
    drawing.whole_numbers(axes)
    drawing.label_layers(axes, names)
    drawing.mark_phases(axes, spans, edges[0], edges[-1])
