"""`Rule`: settings for the variables that a target matches."""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import keras

from difflr.checks import checked_multiplier, checked_number, did_you_mean, meant, shown
from difflr.plan.group_names import check_group_name
from difflr.plan.hyperparameters import KNOWN, Value, check_schedules, checked_hyperparameters
from difflr.plan.schedule import check_factors

AXES = ("multiplier", "weight_decay_multiplier", "schedule", "frozen", "name", "min_learning_rate")
# What a rule can set. A learning rate becomes a multiplier; each hyperparameter is an axis of its own.
FIELDS = (*AXES, "learning_rate", "hyperparameters")


@dataclasses.dataclass(frozen=True, eq=False)
class EverythingBut:
    """The result of `everything_but`.

    Args:
        targets: The excluded targets.
    """

    targets: tuple[Any, ...]


def everything_but(*targets: Any) -> EverythingBut:
    """A target that matches every variable that none of `targets` match.

    Args:
        targets: Targets of any form (see `difflr.Rule`), or lists of them. Each must match something.

    Returns:
        A target, for use wherever a target is expected.

    Raises:
        ValueError: If there are no targets.

    Example:

    ```python
    plan = difflr.Plan(model, {difflr.everything_but("head"): difflr.FROZEN})
    ```
    """
    if not targets:
        raise ValueError("`everything_but` needs at least one target, such as everything_but('head'). For all use '*'.")
    return EverythingBut(targets)


Target: TypeAlias = (
    "str | keras.Layer | keras.Variable | type[keras.Layer] | EverythingBut | Callable[[keras.Variable], bool] "
    "| Sequence[Target]"
)


class _Value(enum.Enum):
    """The named values of a rule."""

    FROZEN = True
    TRAINABLE = False

    def __repr__(self) -> str:
        return f"difflr.{self.name}"


FROZEN = _Value.FROZEN
"""The value of a rule that freezes: no update, no decay, no optimizer state, no gradient."""

TRAINABLE = _Value.TRAINABLE
"""The value of a rule that undoes the freezing of an earlier rule."""


@dataclasses.dataclass(frozen=True, eq=False)
class Rule:
    """One rule of a plan: a target, and its settings on independent axes.

    Arguments that are `None` set nothing: a rule about the rate never changes the decay.

    Args:
        target: A layer or variable of the model; a layer class; a layer-tree path or pattern such as
            `"backbone/stem/kernel"`; a kind such as `"kind:bias"`; a function `variable -> bool`;
            `difflr.everything_but(...)`; or a list of these. In patterns, `*` matches any characters, `/` included,
            `**/` any number of levels, `?` one character; a matching layer includes everything in it. Kinds are kernel,
            bias, norm, embedding, vector, no_decay and head.
        multiplier: Float >= 0. The effective rate is the base rate times this. 0 freezes.
        weight_decay_multiplier: Float >= 0. Multiplies the optimizer's `weight_decay`.
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, a factor on top of the base rate, as a function
            of the optimizer's steps since it took effect. `difflr.schedules.Constant()` removes an earlier rule's schedule.
        frozen: Boolean. `True` freezes, `False` undoes an earlier rule's freezing.
        name: String, the group's name in logs, tables and plots. A named group is not merged with others.
        learning_rate: Float >= 0, the effective rate, instead of `multiplier`. The plan converts it to a multiplier,
            so it follows later changes of the base rate.
        min_learning_rate: Float >= 0, the floor of the effective rate.
        hyperparameters: Mapping from the optimizer's other hyperparameters (momentum, betas, weight decay, `clipnorm`) to
            numbers or schedules; `None` restores the optimizer's own.

    Raises:
        ValueError: If a value is invalid, or the rule sets nothing or contradicts itself.

    Example:

    ```python
    import difflr

    difflr.Rule("*/bias", multiplier=2.0, weight_decay_multiplier=0.0)
    difflr.Rule("embedding", hyperparameters={"beta_2": 0.95, "clipnorm": 1.0}, min_learning_rate=1e-6)
    ```

    Reference: the two multipliers are Caffe's `lr_mult` and `decay_mult` (`ParamSpec` in caffe.proto); independent axes
    are those of big_vision (`big_vision/optax.py`); hyperparameters by group are torch.optim's `param_groups`.
    """

    target: Target
    multiplier: float | None = None
    weight_decay_multiplier: float | None = None
    schedule: keras.optimizers.schedules.LearningRateSchedule | None = None
    frozen: bool | None = None
    name: str | None = None
    learning_rate: float | None = None
    min_learning_rate: float | None = None
    hyperparameters: Mapping[str, Value | None] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.target, list):  # the caller may change the list later
            object.__setattr__(self, "target", tuple(self.target))
        for field in ("multiplier", "weight_decay_multiplier", "learning_rate"):
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, checked_multiplier(value, field, field != "weight_decay_multiplier"))
        if self.min_learning_rate is not None:
            object.__setattr__(self, "min_learning_rate", checked_number(self.min_learning_rate, "min_learning_rate"))
        if self.hyperparameters is not None:
            object.__setattr__(self, "hyperparameters", checked_hyperparameters(self.hyperparameters))
        schedules = keras.optimizers.schedules
        if self.schedule is not None and not isinstance(self.schedule, schedules.LearningRateSchedule):
            raise ValueError(
                "`schedule` must be a keras.optimizers.schedules.LearningRateSchedule, whose value is the "
                f"factor at each step. Received: {shown(self.schedule)} (of type {type(self.schedule).__name__})."
            )
        if self.frozen is not None and not isinstance(self.frozen, bool):
            raise ValueError(f"`frozen` must be True, False or None. Received: {shown(self.frozen)}.")
        if self.name is not None:
            check_group_name(self.name)
        if all(getattr(self, field) is None for field in FIELDS):
            raise ValueError(
                f"The rule for {describe(self.target)} sets nothing. Give it at least one of: {', '.join(FIELDS)}."
            )
        if contradiction := self._contradiction():
            raise ValueError(f"The rule for {describe(self.target)} contradicts itself. Received: {contradiction}")

    def _contradiction(self) -> str:
        rates = [field for field in ("multiplier", "learning_rate") if getattr(self, field) is not None]
        if len(rates) > 1:
            return f"multiplier={self.multiplier:g}, learning_rate={self.learning_rate:g}. Leave one of them out."
        if rates and self.frozen is not None and self.frozen != (getattr(self, rates[0]) == 0):
            fix = (
                "Leave one of them out; what a later rule unfreezes has the multiplier of a rule of its own before it"
                if self.frozen
                else f"0 freezes: to train it, give it a {rates[0]} above 0"
            )
            return f"{rates[0]}={getattr(self, rates[0]):g}, frozen={self.frozen}. {fix}."
        return ""

    @property
    def axes(self) -> dict[str, Any]:
        """What the rule sets: axis name -> value; each hyperparameter by its own name."""
        axes = {axis: value for axis in AXES if (value := getattr(self, axis)) is not None}
        return {**axes, **(self.hyperparameters or {})}

    def check_schedules(self) -> None:
        """Checks the values of the rule's schedules; warns of factors that look like rates.

        A plan calls it. A rule may be made before the backend's devices are configured, and this starts the backend.

        Raises:
            ValueError: If a schedule does not return numbers that fit.
        """
        if self.schedule is not None:
            check_factors(self.schedule, scaled_up=(self.multiplier or 0) > 1)
        check_schedules(self.hyperparameters or {})

    def relative_to(self, base_rate: float | None) -> "Rule":
        """This rule with a multiplier instead of its learning rate.

        Args:
            base_rate: The optimizer's base rate; `None` if unknown or a schedule.

        Raises:
            ValueError: If the rule sets a learning rate and there is no base rate.
        """
        if self.learning_rate is None:
            return self
        if base_rate is None:
            raise ValueError(
                f"The rule for {describe(self.target)} sets learning_rate={self.learning_rate:g}, and rates are kept as "
                "factors on the optimizer's base rate, which is not known here or is a schedule. With a base rate of "
                f"1e-3, write `multiplier={self.learning_rate:g} / 1e-3`; or name the base rate: "
                "difflr.Plan(model, rules, learning_rate=1e-3). Under a schedule take its highest rate."
            )
        return dataclasses.replace(self, learning_rate=None, multiplier=self.learning_rate / base_rate)

    @classmethod
    def of(cls, target: Target, value: Any) -> "Rule":
        """The rule for `target: value` in a mapping.

        Args:
            target: As for the class.
            value: A number (the multiplier), a `LearningRateSchedule`, `FROZEN`, `TRAINABLE`, or a mapping of axis
                names to values.

        Raises:
            ValueError: If an axis is unknown or a value is invalid.
        """
        if isinstance(value, _Value):
            return cls(target, frozen=value.value)
        if isinstance(value, Mapping):
            unknown = [field for field in value if field not in FIELDS]
            if unknown:
                hint = _hint_about_field(target, unknown[0], value[unknown[0]])
                raise ValueError(
                    f"The rule for {describe(target)} sets {', '.join(map(shown, unknown[:8]))}, which no rule can set."
                    f"{hint} Expected one of: {', '.join(FIELDS)}."
                )
            return cls(target, **value)
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            return cls(target, schedule=value)
        return cls(target, multiplier=checked_multiplier(value, f"multiplier of {describe(target)}"))

    def __eq__(self, other: object) -> bool:
        """Whether both set the same for the same target; layers, variables and functions are compared by identity."""
        if not isinstance(other, Rule):
            return NotImplemented
        return _same_target(self.target, other.target) and all(
            getattr(self, field) == getattr(other, field) for field in FIELDS
        )

    def __hash__(self) -> int:
        return hash((self.multiplier, self.weight_decay_multiplier, self.frozen, self.name, self.learning_rate))


# What other libraries call the fields.
_ALSO_CALLED = {
    "lr": "learning_rate",
    "lr_mult": "multiplier",
    "lr_multiplier": "multiplier",
    "lr_scale": "multiplier",
    "decay_mult": "weight_decay_multiplier",
    "wd": "weight_decay_multiplier",
    "min_lr": "min_learning_rate",
    "requires_grad": "frozen",
    "trainable": "frozen",
}


def _hint_about_field(target: Target, field: Any, value: Any) -> str:
    """What to write instead of a field that no rule has."""
    if field in _ALSO_CALLED:
        return meant([_ALSO_CALLED[field]])
    if field in KNOWN:
        return " Arguments of the optimizer go in `hyperparameters`."
    hint = did_you_mean(str(field), FIELDS, 1, 0.6)
    if not hint and isinstance(target, str) and not isinstance(value, Mapping):
        hint = f" For a part of it, write the path: '{target}/{field}'."
    return hint


def flattened(target: Target, in_everything_but: bool = False) -> Iterator[Target]:
    """The single targets in `target`, which may be a list, or a list of lists.

    Args:
        target: The target.
        in_everything_but: Whether to take the targets that `everything_but` leaves out instead of itself.
    """
    if isinstance(target, EverythingBut) and in_everything_but:
        target = target.targets
    if isinstance(target, (list, tuple)):
        for part in target:
            yield from flattened(part, in_everything_but)
    else:
        yield target


def named_objects(target: Target) -> list[keras.Layer | keras.Variable]:
    """The layers and variables that `target` names as objects, those that it leaves out too."""
    return [single for single in flattened(target, True) if isinstance(single, (keras.Layer, keras.Variable))]


def _same_target(first: Target, second: Target) -> bool:
    if isinstance(first, EverythingBut) and isinstance(second, EverythingBut):
        return _same_target(first.targets, second.targets)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_same_target, first, second))
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    return first is second


def describe(target: Target) -> str:
    """How a target is named in tables and errors."""
    if isinstance(target, str):
        return f"'{target}'" if len(target) <= 200 else f"'{target[:200]}...'"
    if isinstance(target, (list, tuple)):
        names = [describe(each) for each in flattened(target)]
        return ", ".join(names) if len(names) <= 3 else f"{names[0]}, ... {names[-1]} ({len(names)} targets)"
    if isinstance(target, EverythingBut):
        return f"everything but {describe(target.targets)}"
    if isinstance(target, keras.Variable):
        return f"variable {target.path}"
    if isinstance(target, keras.Layer):
        return f"layer {target.name}"
    if isinstance(target, type):
        return f"layers of class {target.__name__}"
    name = getattr(target, "__qualname__", None)
    return f"function {name.rsplit('.', 1)[-1]}" if name else shown(target).partition("\n")[0]


def as_rules(rules: Any) -> list[Rule]:
    """All the forms in which rules may be given, as a list of `Rule`.

    Args:
        rules: A mapping target -> value, an iterable of `(target, value)` pairs or of `Rule`s, or `None`.

    Raises:
        TypeError: If it is none of these.
    """
    if rules is None:
        return []
    if isinstance(rules, Rule):
        return [rules]
    if isinstance(rules, Mapping):
        return [Rule.of(target, value) for target, value in rules.items()]
    if not isinstance(rules, Iterable) or isinstance(rules, str):
        fix = (
            " A plan for another model: difflr.Plan.from_json(model, plan.to_json())."
            if hasattr(rules, "to_json")
            else ""
        )
        raise TypeError(
            "Rules are a mapping such as {'backbone': 0.1}, a list of (target, value) pairs, or a list of difflr.Rule. "
            f"Received: {shown(rules)} (of type {type(rules).__name__}).{fix}"
        )
    result = []
    for rule in rules:
        if isinstance(rule, Rule):
            result.append(rule)
        elif isinstance(rule, (tuple, list)) and len(rule) == 2:
            result.append(Rule.of(*rule))
        else:
            raise TypeError(
                f"A list of rules holds difflr.Rule objects or (target, value) pairs. Received: {shown(rule)}."
            )
    return result
