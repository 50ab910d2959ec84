"""The picture of a schedule, before a step is taken."""

from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.schedules import checks

MAX_POINTS = 600
MAX_NAMES = 12


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
    axes = _new_axes() if axes is None else axes
    colours = [f"C{number}" for number in range(len(lines))]
    if len(lines) > 6:  # many groups are layers in order: let the colour tell the depth
        import matplotlib

        colours = list(matplotlib.colormaps["viridis"](np.linspace(0, 0.9, len(lines))))
    for number, ((name, rates), colour) in enumerate(zip(lines, colours, strict=True)):
        named = len(lines) <= MAX_NAMES or number in (0, len(lines) - 1)
        axes.plot(steps, rates, color=colour, label=name if named and name else None)
    peaks = [rates.max() for _, rates in lines if rates.max() > 0]
    if peaks and max(peaks) > 20 * min(peaks):
        axes.set_yscale("log", nonpositive="mask")
    if any(name for name, _ in lines):
        axes.legend(fontsize="small")
    axes.set_xlabel("step")
    axes.set_ylabel("learning rate")
    return axes


def _lines(schedule: Any, steps: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What to draw: names and rates."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return [("", _values(schedule, steps))]
    if not isinstance(schedule, keras.optimizers.Optimizer):
        raise TypeError(
            "`schedule` must be a keras.optimizers.schedules.LearningRateSchedule or an optimizer. "
            f"Received: {schedule!r} (of type {type(schedule).__name__})."
        )
    base = _values(_base_rate(schedule), steps)
    plan = getattr(schedule, "plan", None)
    if plan is None:
        return [("", base)]
    from difflr.report.group_labels import group_names

    return [
        (f"{name} (× {group.multiplier:g})", base * group.multiplier * _values(group.schedule or 1.0, steps))
        for name, group in zip(group_names(plan), plan.groups, strict=True)
    ]


def _base_rate(optimizer: Any) -> Any:
    """The schedule of an optimizer, or its rate now."""
    rate = keras_private.live_learning_rate(optimizer)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        return rate
    return float(keras.ops.convert_to_numpy(rate() if callable(rate) else rate))


def _values(schedule: Any, steps: np.ndarray) -> np.ndarray:
    """The rate at each step. One by one: not every schedule takes several steps at once."""
    if isinstance(schedule, float):
        return np.full(len(steps), schedule)
    rates = [schedule(keras.ops.convert_to_tensor(step, dtype="int32")) for step in steps]
    return np.array([float(keras.ops.convert_to_numpy(rate)) for rate in rates])


def _new_axes() -> Any:
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError('Pictures need matplotlib: pip install "difflr[plot]"') from None
    return pyplot.subplots(figsize=(7, 4), layout="constrained")[1]
