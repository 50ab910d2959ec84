"""`Joined` and `Delayed`: schedules one after another."""

from collections.abc import Sequence
from typing import Any

import keras

from difflr import checks
from difflr.plan.schedule import Schedule


@keras.saving.register_keras_serializable(package="difflr")
class Joined(Schedule):
    """Several schedules in sequence, each counting steps from its own start.

    Args:
        schedules: List of schedules, or numbers for constant rates.
        boundaries: List of increasing integers, one fewer than schedules: the step at which the next schedule takes over.

    Raises:
        ValueError: If the number of boundaries is wrong, or the boundaries do not increase.

    Example:

    ```python
    import difflr
    from difflr.schedules import Joined, OneCycle

    schedule = Joined([OneCycle(2e-3, 100), OneCycle(1e-3, 500)], boundaries=[100])
    optimizer = difflr.optimizers.AdamW(schedule)
    ```

    Reference: optax's `join_schedules`.
    """

    def __init__(self, schedules: Sequence[Any], boundaries: Sequence[int]):
        self.schedules = [checks.checked_schedule(schedule, f"schedules[{n}]") for n, schedule in enumerate(schedules)]
        self.boundaries = [checks.checked_steps(boundary, f"boundaries[{n}]") for n, boundary in enumerate(boundaries)]
        if len(self.schedules) != len(self.boundaries) + 1 or self.boundaries != sorted(set(self.boundaries)):
            raise ValueError(
                "`boundaries` needs one increasing step between every two schedules. Received: "
                f"{len(self.schedules)} schedules, boundaries={list(boundaries)}."
            )

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        ops = keras.ops
        step = checks.as_float(step)
        rate = _rate(self.schedules[0], step)
        for boundary, schedule in zip(self.boundaries, self.schedules[1:], strict=True):
            rate = ops.where(step < boundary, rate, _rate(schedule, ops.maximum(step - boundary, 0)))
        return rate


def _rate(schedule: Any, step: Any) -> Any:
    return schedule * keras.ops.ones_like(step) if isinstance(schedule, float) else schedule(step)


@keras.saving.register_keras_serializable(package="difflr")
class Delayed(Joined):
    """A rate of 0 for some steps, then a schedule from its start, for a group that joins later.

    A rate of 0 does not freeze: gradients are still computed and momenta updated. To save that work, use
    `difflr.Phases`.

    Args:
        schedule: A schedule, or a number for a constant rate. In a rule, 1 is the base rate times the multiplier.
        delay_steps: Integer. Optimizer steps (batches) before the schedule begins.

    Raises:
        ValueError: If an argument is invalid.

    Example:

    ```python
    import difflr
    from difflr.schedules import Delayed

    plan = difflr.Plan(model, {"backbone": {"multiplier": 0.1, "schedule": Delayed(1.0, delay_steps=200)}})
    ```
    """

    def __init__(self, schedule: Any, delay_steps: int):
        self.schedule = checks.checked_schedule(schedule)
        self.delay_steps = checks.checked_steps(delay_steps, "delay_steps")
        super().__init__([0.0, self.schedule], [self.delay_steps])
