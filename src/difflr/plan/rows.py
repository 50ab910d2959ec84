"""The lines of a plan: one for each variable, gathered in groups."""

import dataclasses
import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

import keras

from difflr.plan.hyperparameters import Value, as_key
from difflr.plan.schedule import schedule_to_json

Item = TypeVar("Item")
BY_USER = "layer.trainable = False"
DECLARED = "declared by"
MULTIPLIER = "multiplier"
STATISTICS = ("keep", "update")


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """The settings of one variable, and the rules that decided them.

    Args:
        path: Its layer-tree path.
        variable: The Keras variable.
        multiplier: Float >= 0, the factor on the base rate; 0 if frozen.
        weight_decay_multiplier: Float >= 0, the factor on the optimizer's weight decay.
        schedule: A further factor over time, or `None`.
        frozen: Whether it is frozen.
        decided: For each axis that was set, the rule, layer or user that set it.
        aliases: Its other paths, through shared layers.
        layer: The layer that owns it, if known.
        place: Its identity in files: its path, with layers that Keras named identified by class and position.
        name: The user's name for its group, or an empty string.
        schedule_start: The optimizer's step from which its schedules count.
        hyperparameters: Numbers or schedules instead of the optimizer's own, by name.
        min_learning_rate: Float, the floor of the effective rate.
        reset: The hyperparameters that a rule sets to `None`: the optimizer's own.
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
    place: str = ""
    name: str = ""
    schedule_start: int = 0
    hyperparameters: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    min_learning_rate: float = 0.0
    reset: frozenset[str] = frozenset()

    def __eq__(self, other: object) -> bool:
        """Whether both have the same settings for one variable; Keras compares variables element by element."""
        if not isinstance(other, Row):
            return NotImplemented
        own, others = (self.path, self.setting, self.decided), (other.path, other.setting, other.decided)
        return self.variable is other.variable and own == others

    def __hash__(self) -> int:
        return hash((self.path, id(self.variable)))

    def __post_init__(self) -> None:
        """Multiplier 0 freezes, and a frozen row has no rate and no hyperparameters."""
        if not (self.frozen or self.multiplier == 0):
            return
        decided = {axis: who for axis, who in self.decided.items() if axis not in self.hyperparameters}
        if not self.frozen:
            decided["frozen"] = decided.get("multiplier", "")
        nothing: dict[str, Any] = {
            "multiplier": 0.0,
            "min_learning_rate": 0.0,
            "schedule": None,
            "schedule_start": 0,
            "hyperparameters": {},
        }
        for field, value in {**nothing, "frozen": True, "decided": decided}.items():
            object.__setattr__(self, field, value)

    def undeclared(self, declared: float = 1.0) -> "Row":
        """This row without the multiplier that its layer declares, but with the numbers that multiplied the plan.

        Args:
            declared: The declared multiplier. A row that it freezes stays frozen.
        """
        if self.frozen or not self.decided.get("multiplier", "").startswith(DECLARED):
            return self
        decided = dict(self.decided)
        numbers = decided.pop("multiplier").partition(" * ")[2]
        if numbers:
            decided["multiplier"] = f"* {numbers}"
        return dataclasses.replace(self, multiplier=self.multiplier / declared if numbers else 1.0, decided=decided)

    def frozen_because(self, reason: str) -> "Row":
        """This row, frozen.

        Args:
            reason: What freezes it.
        """
        return dataclasses.replace(self, frozen=True, decided={**self.decided, "frozen": reason})

    def number(self, name: str) -> Any:
        """The multiplier, or a hyperparameter; `None` if the optimizer decides it.

        Args:
            name: `"multiplier"`, or the name of the hyperparameter.
        """
        return self.multiplier if name == MULTIPLIER else self.hyperparameters.get(name)

    def with_numbers(self, numbers: Mapping[str, float]) -> "Row":
        """This row with other numbers.

        Args:
            numbers: By name, as for `number`.
        """
        own = {name: number for name, number in numbers.items() if name != MULTIPLIER}
        multiplier = numbers.get(MULTIPLIER, self.multiplier)
        return dataclasses.replace(self, multiplier=multiplier, hyperparameters={**self.hyperparameters, **own})

    def sharing(self, name: str) -> Hashable:
        """Equal for rows that get a hyperparameter from one rule, whose variables share a clip norm.

        Args:
            name: The name of the hyperparameter, which the plan sets.
        """
        return self.decided.get(name), as_key({name: self.hyperparameters[name]}), self.schedule_start

    @property
    def shape(self) -> tuple[int, ...]:
        """The variable's shape."""
        return tuple(self.variable.shape)

    @property
    def num_parameters(self) -> int:
        """The number of parameters of the variable."""
        return math.prod(self.shape)

    @property
    def has_schedule(self) -> bool:
        """Whether its rate or one of its hyperparameters has a schedule."""
        return self.schedule is not None or any(map(callable, self.hyperparameters.values()))

    @property
    def setting(self) -> tuple[float, float, str, bool, str, str, float]:
        """Rows with an equal setting form a group."""
        if self.frozen:
            return (0.0, 0.0, "", True, "", "", 0.0)
        schedule = "" if self.schedule is None else json.dumps(schedule_to_json(self.schedule), sort_keys=True)
        schedule += f" from {self.schedule_start}" if self.schedule_start and self.has_schedule else ""
        others = as_key(self.hyperparameters) if self.hyperparameters else ""
        return (
            self.multiplier,
            self.weight_decay_multiplier,
            schedule,
            False,
            self.name,
            others,
            self.min_learning_rate,
        )


@dataclasses.dataclass(frozen=True)
class StatisticsLayer:
    """A BatchNormalization layer without trainable variables (`scale=False, center=False`), which has no row.

    Args:
        path: Its layer-tree path.
        layer: The layer; `None` if only saved data is known.
        frozen: Whether it is frozen, by the plan or by the user.
        by_user: Whether `trainable = False` was set on it outside difflr.
        place: Its identity in files, as for a row.
    """

    path: str
    layer: keras.Layer | None
    frozen: bool
    by_user: bool
    place: str = ""


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

    @property
    def hyperparameters(self) -> Mapping[str, Value]:
        """Numbers or schedules instead of the optimizer's own, by name."""
        return self.rows[0].hyperparameters

    @property
    def min_learning_rate(self) -> float:
        """The floor of the effective rate."""
        return self.rows[0].min_learning_rate


def grouped(items: Iterable[Item], key: Callable[[Item], Hashable]) -> dict[Any, list[Item]]:
    """The items by key, in order of first appearance.

    Args:
        items: The items.
        key: Function from an item to its key.
    """
    found: dict[Any, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found
