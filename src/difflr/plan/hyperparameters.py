"""Hyperparameters of a group: other arguments of the optimizer's update, as numbers or schedules."""

import functools
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any, TypeAlias

import keras

from difflr.checks import shown
from difflr.plan.schedule import check_schedule, check_values, schedule_from_json, schedule_to_json

Value: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule

# The valid ranges of hyperparameters of Keras's optimizers; any other may be any finite number.
_BELOW_1 = ("beta_1", "beta_2", "rho", "adam_beta_1", "adam_beta_2")
_UP_TO_1 = ("momentum",)
_ABOVE_0 = ("clipnorm",)
_FROM_0 = ("weight_decay", "adam_weight_decay", "epsilon")
KNOWN = (*_BELOW_1, *_UP_TO_1, *_ABOVE_0, *_FROM_0)

# Names that are wrong here, and where the setting is.
_ELSEWHERE = {
    "learning_rate": "set `learning_rate` or `multiplier` of the rule",
    "lr": "set `learning_rate` or `multiplier` of the rule",
    "multiplier": "it is an argument of the rule",
    "weight_decay_multiplier": "it is an argument of the rule",
    "schedule": "it is an argument of the rule; here each name may have a schedule as its value",
    "frozen": "it is an argument of the rule",
    "name": "it is an argument of the rule",
    "min_learning_rate": "it is an argument of the rule",
    "global_clipnorm": "a norm over the variables of the rule is `clipnorm`",
    "betas": "they are `beta_1` and `beta_2`",
}


def checked_hyperparameters(values: Any) -> dict[str, Value | None]:
    """The hyperparameters of a rule, checked: name -> number, schedule, or `None` for the optimizer's own.

    Args:
        values: The user's mapping.

    Raises:
        ValueError: If it is not a mapping, is empty, or has an invalid name or value.
    """
    if not isinstance(values, Mapping) or not values:
        raise ValueError(
            "`hyperparameters` must map names of the optimizer's arguments to numbers or schedules, such as "
            f"{{'momentum': 0.95}}. Received: {shown(values)} (of type {type(values).__name__})."
        )
    return {_checked_name(name): _checked_value(name, value) for name, value in values.items()}


def check_schedules(hyperparameters: Mapping[str, Value | None]) -> None:
    """Checks the values of the schedules among the hyperparameters of a rule.

    Args:
        hyperparameters: The hyperparameters, as from `checked_hyperparameters`.

    Raises:
        ValueError: If a schedule does not return numbers in the range of its hyperparameter.
    """
    for name, value in hyperparameters.items():
        if _is_schedule(value):
            check_values(value, f"The schedule of '{name}'", _span(name, 0)[0], functools.partial(_fits, name))


def _fits(name: str, number: float) -> bool:
    return _span(name, number)[1]


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(
            f"The names in `hyperparameters` must be arguments of the optimizer, such as 'momentum'. "
            f"Received: {shown(name)}."
        )
    if name in _ELSEWHERE:
        raise ValueError(f"`hyperparameters` cannot hold '{name}': {_ELSEWHERE[name]}.")
    return name


def _checked_value(name: str, value: Any) -> Value | None:
    if value is None or _is_schedule(value):
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        hint = " To save a function, derive it from LearningRateSchedule." if callable(value) else ""
        raise ValueError(
            f"The hyperparameter '{name}' is a finite number, a keras.optimizers.schedules.LearningRateSchedule, or None "
            f"for the optimizer's own. Received: {shown(value)} (of type {type(value).__name__}).{hint}"
        )
    number = float(value)
    span, fits = _span(name, number)
    if not fits:
        raise ValueError(f"The hyperparameter '{name}' is {span}. Received: {shown(value)}.")
    return number


def _is_schedule(value: object) -> bool:
    return isinstance(value, keras.optimizers.schedules.LearningRateSchedule)


def _span(name: str, number: float) -> tuple[str, bool]:
    if name in _BELOW_1:
        return "a number from 0 to below 1", 0 <= number < 1
    if name in _UP_TO_1:
        return "a number from 0 to 1", 0 <= number <= 1
    if name in _ABOVE_0:
        return "a number above 0", number > 0
    return "a number >= 0", number >= 0 or name not in _FROM_0


def to_json(values: Mapping[str, Value]) -> dict[str, Any]:
    """Hyperparameters as plain data, the same for equal ones."""
    return {name: schedule_to_json(value) if _is_schedule(value) else value for name, value in sorted(values.items())}


def from_json(data: Mapping[str, Any]) -> dict[str, Value]:
    """The hyperparameters that `to_json` wrote; nothing but schedules is built from it.

    Raises:
        ValueError: If the data is invalid.
    """
    return {name: schedule_from_json(value) if isinstance(value, dict) else value for name, value in data.items()}


def check_json(data: Any) -> None:
    """Checks what is read from a file.

    Raises:
        ValueError: If a name or a value is invalid; the message says which.
    """
    if data == {}:
        return
    plain = {name: 0.5 if isinstance(value, dict) else value for name, value in data.items()} if data else data
    if None in checked_hyperparameters(plain).values():
        raise ValueError(f"A saved hyperparameter is a number or a schedule. Received: {shown(data)}.")
    for value in data.values():
        if isinstance(value, dict):
            check_schedule(value)


def as_key(values: Mapping[str, Value]) -> str:
    """Text that is equal for equal hyperparameters; empty without any."""
    return json.dumps(to_json(values), sort_keys=True) if values else ""


def as_text(values: Mapping[str, Value]) -> str:
    """Hyperparameters in a table: `momentum 0.8, weight_decay CosineDecay`."""
    return ", ".join(
        f"{name} {type(value).__name__ if _is_schedule(value) else format(value, 'g')}"
        for name, value in values.items()
    )
