"""The picture of a schedule, before a step is taken."""

from typing import Any

import keras
import numpy as np

from difflr import checks
from difflr.plan.group_names import group_names
from difflr.report import drawing
from difflr.report.plan_layers import base_rate, rates_at

MAX_POINTS = 600
MAX_NAMES = 10


def plot_schedule(schedule: Any, num_steps: int, axes: Any = None) -> Any:
    """Draws the learning rate at every step, for an optimizer with a plan one line for each group.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`; or an optimizer, built or not, whose base rate is
            multiplied by what its plan says.
        num_steps: Integer. How many optimizer steps (batches) to draw.
        axes: The matplotlib axes to draw on. By default new ones, of a new figure.

    Returns:
        The axes: `axes.figure.savefig("rates.png")` saves the picture.

    Raises:
        ImportError: If matplotlib is not installed.
        TypeError: If `schedule` is neither a schedule nor an optimizer.
        ValueError: If `num_steps` is no positive integer, or the optimizer is not built and was given no plan.

    Example:

    ```python
    import difflr

    plan = difflr.Plan(model, {"backbone": 0.1})
    schedule = difflr.schedules.OneCycle(1e-2, num_steps=500)
    axes = difflr.plot_schedule(difflr.optimizers.AdamW(schedule, multipliers=plan), num_steps=500)
    ```

    Reference: fastai's `plot_sched` (`callback/schedule.py`), which draws one group, after training.
    """
    steps = np.unique(np.linspace(0, checks.checked_steps(num_steps) - 1, MAX_POINTS).astype("int64"))
    lines = _lines(schedule, steps)
    own_figure = axes is None
    axes = drawing.new_axes() if own_figure else axes
    handles = [
        axes.plot(steps, rates, **look)[0] for (_, rates), look in zip(lines, drawing.looks(len(lines)), strict=True)
    ]
    peaks = [rates.max() for _, rates in lines if rates.max() > 0]
    if peaks and max(peaks) > 20 * min(peaks):
        axes.set_yscale("log", nonpositive="mask")
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    named = [number for number in drawing.evenly(len(lines), MAX_NAMES) if lines[number][0]]
    if named:
        drawing.legend(axes, [handles[number] for number in named], [lines[number][0] for number in named], own_figure)
    return axes


def _lines(schedule: Any, steps: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What to draw: names and rates."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return [("", rates_at(schedule, steps))]
    if not isinstance(schedule, keras.optimizers.Optimizer):
        raise TypeError(
            "`schedule` must be a keras.optimizers.schedules.LearningRateSchedule or an optimizer. "
            f"Received: {schedule!r} (of type {type(schedule).__name__})."
        )
    base = rates_at(base_rate(schedule), steps)
    plan = getattr(schedule, "plan", None)
    if plan is None:
        return [("", base)]
    return [
        (f"{name} (× {group.multiplier:.3g})", base * group.multiplier * rates_at(group.schedule or 1.0, steps))
        for name, group in zip(group_names(plan), plan.groups, strict=True)
    ]
