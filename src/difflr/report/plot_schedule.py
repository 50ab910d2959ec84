"""`plot_schedule`: the learning rate of every group at every step, before training."""

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr.checks import checked_steps, wrong_type
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan
from difflr.plan.group_names import groups_by_name
from difflr.report import drawing
from difflr.report.labels import evenly
from difflr.report.rates import accumulation_of, base_rate, planned_rates, schedule_of, values_at

MAX_POINTS = 600
MAX_NAMES = 10


def plot_schedule(
    schedule: LearningRateSchedule | keras.optimizers.Optimizer | keras.Model,
    num_steps: int,
    axes: drawing.Axes | None = None,
) -> drawing.Axes:
    """Draws the learning rate at every step; for a compiled model or an optimizer with a plan, a line per group.

    The axis is logarithmic if the rates span decades.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`; a compiled model, for `difflr.plan_of(model)`; or
            an optimizer that is built or was given a `difflr.Plan`.
        num_steps: Integer. The number of steps (batches) to draw.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.

    Returns:
        The axes: `axes.figure.savefig("rates.png")` saves the plot.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `schedule` is none of these.
        ValueError: If `num_steps` is not a positive integer, the model is not compiled, or the optimizer's plan is unknown
            until it is built.

    Example:

    ```python
    import difflr

    plan = difflr.Plan(model, {"backbone": 0.1})
    schedule = difflr.schedules.OneCycle(1e-2, num_steps=500)
    axes = difflr.plot_schedule(difflr.optimizers.AdamW(schedule, multipliers=plan), num_steps=500)
    ```

    Reference: fastai's `plot_sched` (`callback/schedule.py`), which draws one group, after training.
    """
    steps = np.unique(np.linspace(0, checked_steps(num_steps) - 1, MAX_POINTS).astype("int64"))
    names, rates = lines_of(schedule, steps)
    own_figure = axes is None
    axes = drawing.new_axes() if axes is None else axes
    styles = drawing.line_styles(len(rates))
    handles = [axes.plot(steps, line, **style)[0] for line, style in zip(rates, styles, strict=True)]
    drawing.log_axis_for_decades(axes, rates)
    drawing.horizontal_grid(axes)
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    if names:
        some = evenly(len(names), MAX_NAMES)
        drawing.legend(axes, [handles[n] for n in some], [names[n] for n in some], own_figure)
    return axes


def lines_of(
    schedule: LearningRateSchedule | keras.optimizers.Optimizer | keras.Model, steps: np.ndarray
) -> tuple[list[str], list[np.ndarray]]:
    """Names and rates of the lines; no names where one line needs none.

    Args:
        schedule: As for `plot_schedule`.
        steps: Integer array.
    """
    if isinstance(schedule, LearningRateSchedule):
        return [], [values_at(schedule, steps)]
    model = schedule if isinstance(schedule, keras.Model) else None
    optimizer = schedule if model is None else model.optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        if model is not None:
            raise ValueError(f"{type(model).__name__} '{model.name}' has no optimizer: call `compile` first.")
        expected = "a keras.optimizers.schedules.LearningRateSchedule, a compiled model or an optimizer"
        raise wrong_type("`schedule`", expected, schedule)
    names, rates = [], []
    for part in parts(optimizer):
        base, plan = values_at(base_rate(part), steps), _plan(part, model)
        if plan is None:
            rates.append(base)
            continue
        for name, group in groups_by_name(plan).items():
            names.append(f"{name} (× {group.multiplier:.3g})")
            row = group.rows[0]
            rates.append(planned_rates(row, base, schedule_of(row, steps, accumulation_of(part))))
    return names if len(names) == len(rates) else [], rates


def _plan(optimizer: keras.optimizers.Optimizer, model: keras.Model | None) -> Plan | None:
    if model is not None:
        return plan_of(model, optimizer)
    return optimizer.plan if isinstance(optimizer, DifferentialOptimizer) else None
