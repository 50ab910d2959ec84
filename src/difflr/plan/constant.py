"""`Constant`: a constant learning rate or factor."""

from typing import Any

import keras

from difflr import checks
from difflr.plan.schedule_json import Schedule


@keras.saving.register_keras_serializable(package="difflr")
class Constant(Schedule):
    """A constant value. In a rule of a plan it removes the schedule of an earlier rule.

    A group with the schedule `Constant()` follows only the optimizer's base rate, like a group without a
    schedule. If the base rate is a schedule, the group follows that.

    Args:
        learning_rate: Float >= 0. The learning rate, or a factor if used in a rule. Defaults to 1.

    Raises:
        ValueError: If it is negative or not finite.

    Example:

    ```python
    import difflr
    from difflr.schedules import Constant, WarmupCosine

    plan = difflr.Plan(model, {"*": WarmupCosine(1.0, num_steps=1000), "head": Constant()})
    assert plan.row(model.get_layer("head").kernel).schedule is None
    ```

    Reference: optax's `constant_schedule`.
    """

    def __init__(self, learning_rate: float = 1.0):
        self.learning_rate = checks.checked_number(learning_rate, "learning_rate")

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        return self.learning_rate * keras.ops.ones_like(checks.as_float(step))
