"""The product of schedules: what a variable gets whose two plans both have one."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="difflr")
class ScheduleProduct(keras.optimizers.schedules.LearningRateSchedule):
    """The product of several schedules at each step.

    Args:
        schedules: List of `keras.optimizers.schedules.LearningRateSchedule`.
    """

    def __init__(self, schedules: list[Any]):
        self.schedules = list(schedules)

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        product = self.schedules[0](step)
        for schedule in self.schedules[1:]:
            product = product * schedule(step)
        return product

    def get_config(self) -> dict[str, Any]:
        """The schedules, serialised."""
        return {"schedules": [keras.saving.serialize_keras_object(schedule) for schedule in self.schedules]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScheduleProduct":
        """The product that `get_config` describes.

        Raises:
            ValueError: If it holds anything but schedules; nothing else is built from it.
        """
        from difflr.plan.binding import schedule_from_json

        return cls([schedule_from_json(schedule) for schedule in config["schedules"]])
