"""`WarmupCosine`: a linear warm-up, then a cosine down to a floor."""

import math
from typing import Any

import keras

from difflr import checks
from difflr.plan.schedule import Schedule


@keras.saving.register_keras_serializable(package="difflr")
class WarmupCosine(Schedule):
    """A linear warm-up to the peak, then half a cosine down to a floor, which is a fraction of the peak.

    Such a floor scales with every group: a layer at a tenth of the rate has a tenth of the floor, while an absolute floor
    (torch's `eta_min`) keeps a slow layer near its peak. Keras's `CosineDecay` has the same floor (`alpha`), but its
    `decay_steps` do not include the warm-up; `num_steps` does.

    Args:
        peak_learning_rate: Float > 0. The highest rate; 1 if the schedule is a factor in a rule.
        num_steps: Integer. All optimizer steps (batches), warm-up included. Later steps have the floor.
        warmup_steps: Integer, less than `num_steps`. The steps of the warm-up. Defaults to 0.
        start: Float in 0..1. The rate at step 0 of the warm-up, as a fraction of the peak. Defaults to 0.
        floor: Float in 0..1. The rate at the end, as a fraction of the peak. Defaults to 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    import difflr

    schedule = difflr.schedules.WarmupCosine(1e-3, num_steps=1000, warmup_steps=100, floor=0.01)
    optimizer = difflr.optimizers.AdamW(schedule)
    ```

    Reference: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016
    (https://arxiv.org/abs/1608.03983); optax's `warmup_cosine_decay_schedule`.
    """

    def __init__(
        self,
        peak_learning_rate: float,
        num_steps: int,
        warmup_steps: int = 0,
        start: float = 0.0,
        floor: float = 0.0,
    ):
        self.peak_learning_rate = checks.checked_rate(peak_learning_rate)
        self.num_steps = checks.checked_steps(num_steps)
        self.warmup_steps = checks.checked_steps(warmup_steps, "warmup_steps", lowest=0)
        if self.warmup_steps >= self.num_steps:
            raise ValueError(
                f"`warmup_steps` must be less than `num_steps`, which includes them. Received: warmup_steps="
                f"{warmup_steps}, num_steps={num_steps}."
            )
        self.start = checks.checked_number(start, "start", highest=1)
        self.floor = checks.checked_number(floor, "floor", highest=1)

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        ops = keras.ops
        step = ops.minimum(checks.as_float(step), self.num_steps)
        warmup = self.start + (1 - self.start) * step / max(self.warmup_steps, 1)
        part = (step - self.warmup_steps) / (self.num_steps - self.warmup_steps)
        cosine = self.floor + (1 - self.floor) * (1 + ops.cos(math.pi * part)) / 2
        return self.peak_learning_rate * ops.where(step < self.warmup_steps, warmup, cosine)
