"""What variables get that join the training later than others: a warm-up, and a bias-correction clock of their own."""

from typing import Any

import keras

from difflr.plan.schedule_json import schedule_from_json


@keras.saving.register_keras_serializable(package="difflr")
class LateStart(keras.optimizers.schedules.LearningRateSchedule):
    """The factor on the rate of variables that join at a later step; a group's own schedule is kept inside it.

    The rate rises linearly from `1 / warmup_steps` to 1. Adam corrects the bias of its moments by the step `t` of the
    whole optimizer; the moments of a newcomer have seen `t - behind` gradients only. As Keras's Adam applies both
    corrections to its rate, `sqrt(1 - beta_2^t) / (1 - beta_1^t)`, another factor on the rate makes them exact. Without
    it the first step of a newcomer is 3 times too far (`0.1 / sqrt(0.001)`). It is on the rate only, not on the decay.

    Args:
        schedule: The group's own schedule, or `None`.
        joined_at: Integer, the optimizer's step at which the variables joined.
        warmup_steps: Integer, the number of steps of the warm-up; 0 for none.
        behind: Integer, how many gradients fewer than the optimizer's the variables have had.
        beta_1: Adam's `beta_1`, or Adamax's; `None` for no clock of their own.
        beta_2: Adam's `beta_2`; `None` where only the first moment is corrected, as in Adamax.
        accumulation: Integer, the number of batches whose gradients are accumulated. Schedules count batches, as Keras's
            do; all other numbers here are of updates.

    Reference: Kingma and Ba, "Adam", 2015, section 2 (the factor on the rate) and 7.1 (Adamax). `torch.optim.Adam`
    keeps a step for each parameter.
    """

    def __init__(
        self,
        schedule: Any = None,
        joined_at: int = 0,
        warmup_steps: int = 0,
        behind: int = 0,
        beta_1: float | None = None,
        beta_2: float | None = None,
        accumulation: int = 1,
    ):
        self.schedule = schedule
        self.joined_at = joined_at
        self.warmup_steps = warmup_steps
        self.behind = behind
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.accumulation = accumulation

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        factor = self.for_weight_decay(step)
        if self.beta_1 is None or not self.behind:
            return factor
        step = keras.ops.cast(step // self.accumulation, keras.config.floatx()) + 1.0
        return factor * self._correction(step - self.behind) / self._correction(step)

    def for_weight_decay(self, step: Any) -> Any:
        """The factor without the bias correction."""
        floatx = keras.config.floatx()
        factor = keras.ops.ones((), floatx) if self.schedule is None else keras.ops.cast(self.schedule(step), floatx)
        if self.warmup_steps:
            done = keras.ops.cast(step // self.accumulation, floatx) - self.joined_at + 1.0
            factor = factor * keras.ops.minimum(done / self.warmup_steps, 1.0)
        return factor

    def _correction(self, step: Any) -> Any:
        correction = 1.0 / (1.0 - keras.ops.power(keras.ops.cast(self.beta_1, step.dtype), step))
        if self.beta_2 is None:
            return correction
        return correction * keras.ops.sqrt(1.0 - keras.ops.power(keras.ops.cast(self.beta_2, step.dtype), step))

    def get_config(self) -> dict[str, Any]:
        """The arguments, the schedule serialised."""
        return {
            "schedule": None if self.schedule is None else keras.saving.serialize_keras_object(self.schedule),
            "joined_at": self.joined_at,
            "warmup_steps": self.warmup_steps,
            "behind": self.behind,
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "accumulation": self.accumulation,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LateStart":
        """The schedule that `get_config` describes.

        Raises:
            ValueError: If it holds anything but a schedule; nothing else is built from it.
        """
        inner = config["schedule"]
        return cls(**{**config, "schedule": None if inner is None else schedule_from_json(inner)})
