"""`SlantedTriangular`: a short rise and a long, straight fall."""

from typing import Any

import keras

from difflr import checks
from difflr.plan.schedule import Schedule


@keras.saving.register_keras_serializable(package="difflr")
class SlantedTriangular(Schedule):
    """A short linear rise to the peak, then a long linear fall: the schedule of ULMFiT.

    The rate begins and ends at `peak_learning_rate / ratio`; after `num_steps`, it stays there.

    Args:
        peak_learning_rate: Float > 0. The highest rate; 1 if the schedule is a factor in a rule.
        num_steps: Integer. All optimizer steps (batches).
        cut_fraction: Float in 0..1. The fraction of the steps in which the rate rises. Defaults to 0.1.
        ratio: Float >= 1. The peak divided by the lowest rate. Defaults to 32.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    ```python
    import keras
    import difflr

    schedule = difflr.schedules.SlantedTriangular(1e-3, num_steps=1000)
    optimizer = keras.optimizers.Adam(schedule)
    ```

    Reference: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification", 2018, equation 3
    (https://arxiv.org/abs/1801.06146). If `num_steps * cut_fraction` is not an integer, the paper's formula falls
    below 0 at the end; here, as in AllenNLP's `SlantedTriangular`, the fall takes exactly the remaining steps.
    """

    def __init__(self, peak_learning_rate: float, num_steps: int, cut_fraction: float = 0.1, ratio: float = 32.0):
        self.peak_learning_rate = checks.checked_rate(peak_learning_rate)
        self.num_steps = checks.checked_steps(num_steps)
        self.cut_fraction = checks.checked_number(cut_fraction, "cut_fraction", highest=1)
        self.ratio = checks.checked_number(ratio, "ratio", lowest=1)

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        ops = keras.ops
        cut = int(self.num_steps * self.cut_fraction)
        step = ops.minimum(checks.as_float(step), self.num_steps)
        rise = step / max(cut, 1)
        fall = 1 - (step - cut) / max(self.num_steps - cut, 1)
        part = ops.where(step < cut, rise, fall)
        return self.peak_learning_rate * (1 + part * (self.ratio - 1)) / self.ratio
