"""Schedules as rules use them: as JSON, at a step, constant, and multiplied."""

import contextlib
import inspect
import math
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras

from difflr.checks import as_float, checked_number, did_you_mean, shown

LARGEST_LOOKING_LIKE_A_RATE = 0.01  # of all factors: fine-tuning usually has larger ones


def schedule_to_json(schedule: Any) -> dict[str, Any]:
    """A schedule as plain data, the same for equal schedules."""
    return _without_identity(keras.saving.serialize_keras_object(schedule))


def _without_identity(config: Any) -> Any:
    """`config` without the object ids that Keras adds when saving or loading a model."""
    if isinstance(config, dict):
        return {key: _without_identity(value) for key, value in config.items() if key != "shared_object_id"}
    return [_without_identity(item) for item in config] if isinstance(config, (list, tuple)) else config


def schedule_from_json(config: Any) -> Any:
    """Restore a schedule from `schedule_to_json`. Builds nothing else.

    Raises:
        ValueError: If it is not a schedule.
    """
    schedules = keras.optimizers.schedules
    name = config.get("class_name") if isinstance(config, dict) else None
    registered = config.get("registered_name") or name if isinstance(config, dict) else None
    known = keras.saving.get_registered_object(registered) if isinstance(registered, str) else None
    if known is None and isinstance(name, str) and config.get("module") == "keras.optimizers.schedules":
        known = vars(schedules).get(name)
    if not (inspect.isclass(known) and issubclass(known, schedules.LearningRateSchedule)):
        hint = did_you_mean(str(name), vars(schedules))
        raise ValueError(
            "A plan's schedule must be a LearningRateSchedule of keras.optimizers.schedules, or one registered with "
            f"@keras.saving.register_keras_serializable(). Received: {shown(config)}.{hint}"
        )
    try:
        made = keras.saving.deserialize_keras_object(config, safe_mode=True)
    except Exception as error:  # the class may raise anything
        raise ValueError(f"The plan's schedule {shown(name)} cannot be created: {shown(str(error))}") from None
    if not isinstance(made, known):
        raise ValueError(f"The plan's schedule {shown(name)} is not a schedule. Received: {shown(config)}")
    return made


def _outside_graph() -> contextlib.AbstractContextManager[object]:
    """A scope in which tensors have values: on TensorFlow, Keras builds an optimizer inside the compiled step."""
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def value_at(schedule: Any, step: int) -> float:
    """The value of a schedule at a step.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
        step: The step.
    """
    with _outside_graph():
        return float(keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(step, dtype="int32"))))


_SOME_STEPS = (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_SHORTEST_TRAINING = 10  # steps; whether a training gets to later ones is not known
# Evaluating one takes milliseconds.
_checked: weakref.WeakValueDictionary[tuple[int, str], Any] = weakref.WeakValueDictionary()


def check_values(schedule: Any, what: str, span: str, fits: Callable[[float], bool]) -> list[float]:
    """The values of a schedule at some steps, checked; empty for a schedule that was checked before.

    Warns of a value outside the span at a step that the training may not get to: `1 - step / num_steps` ends below 0.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
        what: What it sets, for errors.
        span: What is expected, for errors.
        fits: Whether a value is in that span.

    Raises:
        ValueError: If it does not return a number, or one outside the span at one of the first steps.
    """
    if _checked.get((id(schedule), what)) is schedule:
        return []
    name, values = f"{what} {type(schedule).__name__}", list[float]()
    for step in _SOME_STEPS:
        try:
            value = value_at(schedule, step)
        except Exception as error:  # its code may raise anything, and may know only the steps of one training
            if not values:
                raise ValueError(f"{name} does not return a number: {shown(str(error))}") from None
            break
        if not (math.isfinite(value) and fits(value)):
            problem = f"{name} must return {span}. Received: {value:g} at step {step}."
            if step <= _SHORTEST_TRAINING:
                raise ValueError(problem)
            warnings.warn(f"{problem} Train for fewer steps, or let it stay at its last valid value.", stacklevel=6)
            break
        values.append(value)
    _checked[id(schedule), what] = schedule
    return values


def check_factors(schedule: Any, scaled_up: bool = False) -> None:
    """Checks a schedule that is a factor on the base rate; warns if its values look like rates.

    Args:
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`.
        scaled_up: Whether a multiplier above 1 goes with it, so that its values may be small.

    Raises:
        ValueError: If it does not return finite numbers >= 0.
    """
    values = check_values(schedule, "The schedule", "finite factors >= 0", lambda value: value >= 0)
    if values and 0 < max(values) <= LARGEST_LOOKING_LIKE_A_RATE and not scaled_up:
        warnings.warn(
            f"The values of the schedule {type(schedule).__name__}, at most {max(values):g}, look like learning rates. They "
            f"are factors on the optimizer's base rate: with Adam(1e-3), {max(values):g} trains at {max(values) * 1e-3:g}. "
            "Let it start from 1, as in CosineDecay(1.0, num_steps), and set the rate by `learning_rate` or `multiplier`.",
            UserWarning,
            stacklevel=5,
        )


def check_schedule(config: dict[str, Any]) -> None:
    """Check that a schedule can be created and gives a factor.

    Raises:
        ValueError: If it cannot be created, or its first value is negative or infinite.
    """
    schedule = schedule_from_json(config)
    try:
        first = value_at(schedule, 0)
    except Exception as error:  # its code may raise anything
        raise ValueError(f"The plan's schedule {schedule!r} does not return a number: {shown(str(error))}") from None
    if first < 0 or first == math.inf:  # a newly unfrozen variable has NaN before it joins
        raise ValueError(f"A factor must be finite and >= 0. The plan's schedule {schedule!r} starts with {first}.")


class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule whose arguments are its attributes, numbers or schedules, and its config."""

    def get_config(self) -> dict[str, Any]:
        """The arguments; schedules among them are serialized."""
        arguments = inspect.signature(type(self).__init__).parameters
        return {name: keras.saving.serialize_keras_object(getattr(self, name)) for name in list(arguments)[1:]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Schedule":
        """The schedule that `get_config` describes.

        Raises:
            ValueError: If it holds anything but schedules and plain values; nothing else is built from it.
        """
        return cls(**{name: _restored(value) for name, value in config.items()})


def _restored(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return list(map(_restored, value))
    return schedule_from_json(value) if isinstance(value, dict) else value


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
        self.learning_rate = checked_number(learning_rate, "learning_rate")

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        return self.learning_rate * keras.ops.ones_like(as_float(step))


@keras.saving.register_keras_serializable(package="difflr")
class ScheduleProduct(Schedule):
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
