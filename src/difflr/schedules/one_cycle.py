"""`OneCycle`: up to a high rate and down to nearly none."""

import math
from typing import Any

import keras

from difflr import checks
from difflr.checks import shown
from difflr.plan.schedule import Schedule

ANNEALINGS = ("cosine", "linear")


@keras.saving.register_keras_serializable(package="difflr")
class OneCycle(Schedule):
    """Up from a low rate to a high one, then down to almost 0: the schedule of fastai's `fit_one_cycle`.

    The rate begins at `peak_learning_rate / division_factor` and ends at that rate divided by `final_division_factor`, as in
    `torch.optim.lr_scheduler.OneCycleLR` with two phases. The one-cycle policy also lowers the momentum while the rate is
    high: `momentum()` returns that schedule, for the hyperparameters of a rule.

    Args:
        peak_learning_rate: Float > 0. The highest rate; 1 if the schedule is a factor in a rule.
        num_steps: Integer. All optimizer steps (batches). The last step and all later ones have the lowest rate.
        warmup_fraction: Float in 0..1. The fraction of the steps in which the rate rises. Defaults to 0.3. If that is
            less than one step, the first step has the peak.
        division_factor: Float >= 1. The peak divided by the first rate. Defaults to 25.
        final_division_factor: Float >= 1. The first rate divided by the last one. Defaults to 1e4.
        annealing: `"cosine"`, the default, or `"linear"`: the shape of rise and fall.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    import keras
    import difflr

    schedule = difflr.schedules.OneCycle(1e-2, num_steps=1000)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    ```

    Reference: Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates",
    2017 (https://arxiv.org/abs/1708.07120); `fit_one_cycle` in fastai's `callback/schedule.py`; torch's
    `optim/lr_scheduler.py`, where the factors are called `div_factor` and `final_div_factor`.
    """

    def __init__(
        self,
        peak_learning_rate: float,
        num_steps: int,
        warmup_fraction: float = 0.3,
        division_factor: float = 25.0,
        final_division_factor: float = 1e4,
        annealing: str = "cosine",
    ):
        self.peak_learning_rate = checks.checked_rate(peak_learning_rate)
        self.num_steps = checks.checked_steps(num_steps)
        self.warmup_fraction = checks.checked_number(warmup_fraction, "warmup_fraction", highest=1)
        self.division_factor = checks.checked_number(division_factor, "division_factor", lowest=1)
        self.final_division_factor = checks.checked_number(final_division_factor, "final_division_factor", lowest=1)
        self.annealing = checks.checked_option(annealing, "annealing", ANNEALINGS)

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        first = self.peak_learning_rate / self.division_factor
        final = first / self.final_division_factor
        rises, up, down = self._ways(step)
        peak = self.peak_learning_rate
        return keras.ops.where(rises, first + (peak - first) * up, final + (peak - final) * down)

    def momentum(self, highest: float = 0.95, lowest: float = 0.85) -> "OneCycleMomentum":
        """The momentum for this cycle: it falls from `highest` to `lowest` while the rate rises, then rises again.

        Args:
            highest: Float in 0..1, at the beginning and at the end.
            lowest: Float in 0..1, at the peak of the rate.

        Returns:
            A schedule for `hyperparameters={"momentum": ...}` of a rule; for Adam, `"beta_1"`.

        Example:

        ```python
        import difflr

        cycle = difflr.schedules.OneCycle(1e-2, num_steps=1000)
        rule = difflr.Rule("*", hyperparameters={"momentum": cycle.momentum()})
        optimizer = difflr.optimizers.SGD(cycle, momentum=0.95, multipliers=difflr.Plan(model, [rule]))
        ```
        """
        return OneCycleMomentum(self, highest, lowest)

    def _ways(self, step: Any) -> tuple[Any, Any, Any]:
        """Whether the rate rises, and how far up it is, 0..1: on the way up, and on the way down.

        Measured from the end that is low, so that float32 keeps the low rates exact.
        """
        ops = keras.ops
        last_step = self.num_steps - 1
        top = max(self.warmup_fraction * self.num_steps - 1, 0.0)  # the step of the peak, as in torch
        step = ops.minimum(checks.as_float(step), last_step)
        up = step / top if top else ops.ones_like(step)
        down = (last_step - step) / max(last_step - top, 1e-6)
        return step <= top, self._annealed(up), self._annealed(down)

    def _annealed(self, part: Any) -> Any:
        return (1 - keras.ops.cos(math.pi * part)) / 2 if self.annealing == "cosine" else part


@keras.saving.register_keras_serializable(package="difflr")
class OneCycleMomentum(Schedule):
    """The momentum of a `OneCycle`; made by its method `momentum`.

    Args:
        cycle: The cycle of the rate.
        highest: Float in 0..1, at the beginning and at the end.
        lowest: Float in 0..1, at the peak of the rate.

    Raises:
        ValueError: If an argument is out of its range, or the lowest is above the highest.
    """

    def __init__(self, cycle: OneCycle, highest: float = 0.95, lowest: float = 0.85):
        if not isinstance(cycle, OneCycle):
            raise ValueError(f"`cycle` must be a OneCycle. Received: {shown(cycle)}.")
        self.cycle = cycle
        self.highest = checks.checked_number(highest, "highest", highest=1)
        self.lowest = checks.checked_number(lowest, "lowest", highest=self.highest)

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        rises, up, down = self.cycle._ways(step)
        return self.highest - (self.highest - self.lowest) * keras.ops.where(rises, up, down)
