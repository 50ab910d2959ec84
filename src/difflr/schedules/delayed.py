"""`Delayed`: a schedule that begins later."""

from typing import Any

import keras

from difflr import checks
from difflr.schedules.joined import Joined


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
