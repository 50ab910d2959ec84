"""`plot_rate_map`: the learning rate of every layer at every step, before training."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import keras
import numpy as np

from difflr.checks import checked_steps
from difflr.phases import Phases
from difflr.plan import Plan
from difflr.report import drawing
from difflr.report.heat_map import draw_heat_map
from difflr.report.labels import rows_of_map
from difflr.report.phase_spans import AnyPhases, Span, checked_phases, plans_in, spans
from difflr.report.plan_layers import as_plan, bands_of
from difflr.report.rates import Rate, accumulation_of, base_rate, planned_rates, schedule_of, values_at

MAX_COLUMNS = 400


@dataclasses.dataclass(frozen=True)
class RateMap:
    """The numbers of the map.

    Args:
        names: The names of its rows: layers, or variables of them with the same rate.
        steps: Integer array `(columns,)`: the steps at which the rates were computed.
        rates: Float array `(rows, columns)`; NaN where frozen.
        last: The step before which the map ends.
        spans: The phases that begin before.
    """

    names: list[str]
    steps: np.ndarray
    rates: np.ndarray
    last: int
    spans: list[Span]


def plot_rate_map(
    plan: Plan | keras.Layer,
    learning_rate: Rate,
    num_steps: int,
    phases: AnyPhases | None = None,
    axes: drawing.Axes | None = None,
    *,
    steps_per_epoch: int | None = None,
) -> drawing.Axes:
    """Draws the learning rate of every layer at every step as a map, before training.

    Each layer has a row, from the input at the top to the head at the bottom; if its variables have different rates, each
    has a row. Frozen layers are gray and hatched. The map includes the schedules of groups and phases and the
    warm-up of newly unfrozen variables, but not their own bias correction. A phase that ends by a metric is drawn at its
    minimum length, with a dashed end.

    Args:
        plan: A `difflr.Plan`; or a built model, for `difflr.plan_of(model)`. With `phases`, the plan without their freezing.
        learning_rate: The base rate: a number, a `keras.optimizers.schedules.LearningRateSchedule`, or an optimizer.
        num_steps: Integer. The number of steps (batches) to draw.
        phases: `difflr.Phases`, or a list of `difflr.Phase`.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.
        steps_per_epoch: Integer. Batches in an epoch, needed if a phase lasts epochs.

    Returns:
        The axes: `axes.figure.savefig("map.png")` saves the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If an argument has the wrong type.
        ValueError: If a number is out of range, `steps_per_epoch` is missing, or the phases do not fit the plan.

    Example:

    ```python
    import difflr

    plan = difflr.layerwise_decay(model, 0.5)
    phases = difflr.phases.head_first(model, epochs=1)
    rate = difflr.schedules.OneCycle(1e-3, num_steps=300)
    axes = difflr.plot_rate_map(plan, rate, 300, phases, steps_per_epoch=100)
    ```
    """
    base = base_rate(learning_rate)
    numbers = rate_map(
        as_plan(plan),
        lambda steps: values_at(base, steps),
        checked_steps(num_steps),
        None if phases is None else checked_phases(phases),
        None if steps_per_epoch is None else checked_steps(steps_per_epoch, "steps_per_epoch"),
        accumulation_of(learning_rate if isinstance(learning_rate, keras.optimizers.Optimizer) else None),
    )
    axes = drawing.new_axes(drawing.height_for(len(numbers.names))) if axes is None else axes
    draw_rate_map(axes, numbers)
    return axes


def rate_map(
    plan: Plan,
    base: Callable[[np.ndarray], np.ndarray],
    num_steps: int,
    phases: Phases | None = None,
    steps_per_epoch: int | None = None,
    accumulation: int = 1,
    logged: Sequence[int] = (),
    is_logged: bool = False,
) -> RateMap:
    """The numbers of `plot_rate_map`.

    Args:
        plan: The plan.
        base: Function from steps to the base rate at each.
        num_steps: Integer.
        phases: The phases, or `None`.
        steps_per_epoch: Integer, batches in an epoch, where it is needed.
        accumulation: Integer, the batches in one update of the optimizer.
        logged: The number of the phase, from 1, in each epoch, where it was logged.
        is_logged: Whether the base rates are those of a log, in which what phases set is included.
    """
    found = [Span(0, 0, math.inf)] if phases is None else spans(phases, "step", steps_per_epoch, accumulation, logged)
    found = [span for span in found if span.begins < num_steps]
    begins = [int(span.begins) for span in found]
    first = float(base(np.zeros(1, "int64"))[0])
    plans = [plan] if phases is None else plans_in(phases, plan, [begin // accumulation for begin in begins], first)
    last = int(min(num_steps, found[-1].ends))
    steps = np.unique([*np.linspace(0, last - 1, MAX_COLUMNS).astype("int64"), *begins])
    base_rates, updates = base(steps), steps // accumulation
    for span in found:  # a phase sets the base rate for itself and those after it
        if phases is not None and not is_logged and (rate := phases[span.number].learning_rate) is not None:
            base_rates = np.where(steps >= span.begins, rate, base_rates)
    bands = bands_of(*plans)
    order, names = rows_of_map([(band.layer, band.variables) for band in bands])
    rates = np.full((len(bands), len(steps)), np.nan)
    schedules: dict[tuple[int, str], np.ndarray] = {}
    for number, band in enumerate(bands[position] for position in order):
        trained, warmup = not plan.whole.row(band.row.variable).frozen, np.ones(len(steps))
        for span, in_force in zip(found, plans, strict=True):
            row, inside = in_force.row(band.row.variable), (steps >= span.begins) & (steps < span.ends)
            if not row.frozen:
                if not trained:
                    begun = updates - span.begins // accumulation + 1
                    warmup = np.clip(begun / max(phases[span.number].warmup_steps, 1), 0, 1) if phases else warmup
                key = (span.number, row.setting[2])
                if key not in schedules:
                    schedules[key] = schedule_of(row, steps[inside], accumulation)
                own = planned_rates(row, base_rates[inside], schedules[key])
                rates[number, inside] = own * warmup[inside]  # which may be below the group's lowest rate
            trained = not row.frozen
    return RateMap(names, steps, rates, last, found if phases else [])


def draw_rate_map(axes: drawing.Axes, numbers: RateMap) -> None:
    """Draws the map.

    Args:
        axes: The axes.
        numbers: What `rate_map` returned.
    """
    rates = numbers.rates
    edges = np.append(numbers.steps, numbers.last)
    frozen, at_zero = (np.isnan(rates), "frozen"), (rates == 0, "trainable, at rate 0")
    draw_heat_map(axes, rates, edges, "learning rate", frozen, at_zero)
    drawing.label_layers(axes, numbers.names)
    drawing.mark_phases(axes, numbers.spans, 0, numbers.last)
    axes.set_xlabel(drawing.time_label("step", numbers.spans))
