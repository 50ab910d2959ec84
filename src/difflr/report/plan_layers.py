"""The numbers behind the pictures of a plan: its layers in flow order, and the rates in them."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from difflr import keras_private

if TYPE_CHECKING:
    from difflr.plan import Plan, Row


@dataclasses.dataclass(frozen=True)
class Lane:
    """Variables of one layer that are treated alike.

    Args:
        layer: The layer-tree path of the layer.
        variables: The names of the variables; empty where they are all the layer has.
        rows: Their rows of the plan.
    """

    layer: str
    variables: tuple[str, ...]
    rows: tuple["Row", ...]

    @property
    def name(self) -> str:
        """The path of the layer, or of the variables."""
        return f"{self.layer}/{', '.join(self.variables)}" if self.variables else self.layer

    @property
    def frozen(self) -> bool:
        """Whether the plan freezes them."""
        return self.rows[0].frozen

    @property
    def multiplier(self) -> float:
        """The factor on the base rate, 0 where it is frozen."""
        return self.rows[0].multiplier


def lanes_of(plan: "Plan", apart: Callable[["Row"], Any] = lambda row: None) -> list[Lane]:
    """The layers of a plan in flow order, apart where their variables are treated differently.

    Args:
        plan: The plan.
        apart: Function from a row to what else keeps rows apart, such as the phases in which they are trainable.
    """
    layers: dict[str, list[Row]] = {}
    for row in plan.rows:
        layers.setdefault(row.path.rpartition("/")[0] or row.path, []).append(row)
    lanes = []
    for layer, rows in layers.items():
        alike: dict[Any, list[Row]] = {}
        for row in rows:
            multiplier, _, schedule, frozen = row.setting  # the decay is no rate
            alike.setdefault((multiplier, schedule, frozen, apart(row)), []).append(row)
        for some in alike.values():
            names = tuple(row.path.rpartition("/")[2] for row in some) if len(alike) > 1 else ()
            lanes.append(Lane(layer, names, tuple(some)))
    return lanes


def as_plan(plan: Any) -> "Plan":
    """The plan that is meant: a plan, or that of a model.

    Args:
        plan: A `difflr.Plan`, or a built model: the plan of its optimizer where there is one, else what its layers
            declare.

    Raises:
        TypeError: If it is neither.
    """
    from difflr.optimizers import plan_of
    from difflr.plan import Plan

    if isinstance(plan, Plan):
        return plan
    if isinstance(plan, keras.Layer):
        return plan_of(plan).whole
    raise TypeError(
        f"`plan` must be a difflr.Plan or a built model. Received: {plan!r} (of type {type(plan).__name__})."
    )


def base_rate(learning_rate: Any) -> Any:
    """What is meant by a base rate: a number, or a schedule.

    Args:
        learning_rate: A number > 0, a schedule, or an optimizer, whose rate or schedule is taken.

    Raises:
        TypeError: If it is none of these.
        ValueError: If it is a number that is no rate.
    """
    from difflr.checks import checked_rate

    if isinstance(learning_rate, keras.optimizers.Optimizer):
        rate = keras_private.live_learning_rate(learning_rate)
        if not isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
            rate = float(keras.ops.convert_to_numpy(rate() if callable(rate) else rate))
        return rate
    if isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule):
        return learning_rate
    if callable(learning_rate):
        raise TypeError(
            "`learning_rate` must be a number, a keras.optimizers.schedules.LearningRateSchedule or an optimizer. "
            f"Received: {learning_rate!r} (of type {type(learning_rate).__name__})."
        )
    return checked_rate(learning_rate, "learning_rate")


def rates_at(schedule: Any, steps: np.ndarray) -> np.ndarray:
    """The rate at each step. One by one: not every schedule takes several steps at once.

    Args:
        schedule: A schedule or a number.
        steps: Integer array.
    """
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return np.full(len(steps), float(schedule))
    rates = [schedule(keras.ops.convert_to_tensor(step, dtype="int32")) for step in steps]
    return np.array([float(keras.ops.convert_to_numpy(rate)) for rate in rates])
