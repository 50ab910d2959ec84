"""The lines of a plan: one for each variable, gathered in groups."""

import dataclasses
import json
from typing import Any

import keras

from difflr.plan.schedule_json import schedule_to_json

BY_USER = "layer.trainable = False"


@dataclasses.dataclass(frozen=True)
class Row:
    """What one variable gets, and who said so.

    Args:
        path: Its layer-tree path.
        variable: The Keras variable.
        multiplier: Float >= 0, the factor on the base rate; 0 where it is frozen.
        weight_decay_multiplier: Float >= 0, the factor on the optimizer's weight decay.
        schedule: A further factor over time, or `None`.
        frozen: Whether it is not trained at all.
        decided: For each axis that a rule, a layer or the user set: who.
        aliases: Further paths by which shared layers reach it.
        layer: The layer that owns it, where known.
        name: The name that the user gave its group, or `""`.
    """

    path: str
    variable: keras.Variable
    multiplier: float = 1.0
    weight_decay_multiplier: float = 1.0
    schedule: Any = None
    frozen: bool = False
    decided: dict[str, str] = dataclasses.field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    layer: keras.Layer | None = None
    name: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The variable's shape."""
        return tuple(self.variable.shape)

    @property
    def num_parameters(self) -> int:
        """How many numbers the variable holds."""
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def setting(self) -> tuple[float, float, str, bool, str]:
        """What makes two rows the same group."""
        schedule = "" if self.schedule is None else json.dumps(schedule_to_json(self.schedule), sort_keys=True)
        if self.frozen:
            return (0.0, 0.0, "", True, "")
        return (self.multiplier, self.weight_decay_multiplier, schedule, False, self.name)


@dataclasses.dataclass(frozen=True)
class StatisticsLayer:
    """A BatchNormalization layer that has nothing to train (`scale=False, center=False`), so that no row speaks of it.

    Args:
        path: Its layer-tree path.
        layer: The layer; `None` where only the saved data is known.
        frozen: Whether it is frozen, by the plan or by the user.
        by_user: Whether `trainable = False` was set on it outside difflr.
    """

    path: str
    layer: keras.Layer | None
    frozen: bool
    by_user: bool


@dataclasses.dataclass(frozen=True)
class Group:
    """Trainable variables with equal settings: the optimizer treats them as one.

    Args:
        rows: The rows of the plan it holds.
    """

    rows: tuple[Row, ...]

    @property
    def multiplier(self) -> float:
        """The factor on the base rate."""
        return self.rows[0].multiplier

    @property
    def weight_decay_multiplier(self) -> float:
        """The factor on the weight decay."""
        return self.rows[0].weight_decay_multiplier

    @property
    def schedule(self) -> Any:
        """The further factor over time, or `None`."""
        return self.rows[0].schedule
