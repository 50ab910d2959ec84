"""`Rule`: who gets what."""

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras

from difflr.checks import checked_multiplier, shown

AXES = ("multiplier", "weight_decay_multiplier", "schedule", "frozen")


class _Value(Mapping):
    """A named, immutable value of a rule, such as `FROZEN`."""

    def __init__(self, name: str, axes: dict[str, Any]):
        self._name = name
        self._axes = types.MappingProxyType(axes)

    def __getitem__(self, axis: str) -> Any:
        return self._axes[axis]

    def __iter__(self) -> Iterator[str]:
        return iter(self._axes)

    def __len__(self) -> int:
        return len(self._axes)

    def __repr__(self) -> str:
        return f"difflr.{self._name}"

    def __reduce__(self) -> str:  # the same object again after copy or pickle
        return self._name


FROZEN = _Value("FROZEN", {"frozen": True})
"""The value of a rule that freezes: no update, no decay, no optimizer state, no gradient computed."""

TRAINABLE = _Value("TRAINABLE", {"frozen": False})
"""The value of a rule that undoes an earlier rule's freezing."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """One rule of a plan: a target, and what it gets on up to four independent axes.

    What is `None` is left as it is: a rule about the rate never undoes a rule about the decay.

    Args:
        target: Who. A layer or variable of the model; a string, matched against layer-tree paths such as
            `"backbone/stem/kernel"` (a pattern that names a layer covers everything below it, `*` stands for any
            characters, `/` included, `**/` also for nothing, `?` for one character); a kind, such as `"kind:bias"` (one
            of kernel, bias, norm, embedding, vector, head); or a function `variable -> bool`.
        multiplier: Float >= 0. The effective rate is the base rate times this. 0 freezes.
        weight_decay_multiplier: Float >= 0. Multiplies the optimizer's `weight_decay`.
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, a factor on top of the base rate as a function of
            the optimizer's step.
        frozen: Boolean. `True` freezes, `False` undoes an earlier rule's freezing.

    Raises:
        ValueError: If a value is not of its kind, or the rule sets nothing or contradicts itself.

    Example:

    ```python
    import difflr

    difflr.Rule("*/bias", multiplier=2.0, weight_decay_multiplier=0.0)
    ```

    Reference: the two multipliers are Caffe's `lr_mult` and `decay_mult` (`ParamSpec` in caffe.proto); independent axes
    are those of big_vision (`big_vision/optax.py`).
    """

    target: Any
    multiplier: float | None = None
    weight_decay_multiplier: float | None = None
    schedule: Any = None
    frozen: bool | None = None

    def __post_init__(self) -> None:
        for axis in ("multiplier", "weight_decay_multiplier"):
            value = getattr(self, axis)
            if value is not None:
                object.__setattr__(self, axis, checked_multiplier(value, axis))
        schedules = keras.optimizers.schedules
        if self.schedule is not None and not isinstance(self.schedule, schedules.LearningRateSchedule):
            raise ValueError(
                "`schedule` must be a keras.optimizers.schedules.LearningRateSchedule, whose value is the "
                f"factor at each step. Received: {shown(self.schedule)} (of type {type(self.schedule).__name__})."
            )
        if self.frozen is not None and not isinstance(self.frozen, bool):
            raise ValueError(f"`frozen` must be True, False or None. Received: {shown(self.frozen)}.")
        if not self.axes:
            raise ValueError(
                f"The rule for {shown(self.target)} sets nothing. Give it at least one of: {', '.join(AXES)}."
            )
        if self.frozen is not None and self.multiplier is not None and self.frozen != (self.multiplier == 0):
            fix = (
                "Leave one of them out; what a later rule unfreezes has the multiplier of a rule of its own before it"
                if self.frozen
                else "0 freezes: to train it, give it a multiplier above 0"
            )
            raise ValueError(
                f"The rule for {describe(self.target)} contradicts itself. Received: multiplier={self.multiplier:g}, "
                f"frozen={self.frozen}. {fix}."
            )

    @property
    def axes(self) -> dict[str, Any]:
        """What the rule sets: axis name -> value."""
        return {axis: value for axis in AXES if (value := getattr(self, axis)) is not None}

    @classmethod
    def of(cls, target: Any, value: Any) -> "Rule":
        """The rule that `target: value` in a mapping stands for.

        Args:
            target: As for the class.
            value: A number (the multiplier), a `LearningRateSchedule`, `FROZEN`, `TRAINABLE`, or a mapping of axis
                names to values.

        Raises:
            ValueError: If an axis is unknown or a value is not of its kind.
        """
        if isinstance(value, Mapping):
            unknown = [axis for axis in value if axis not in AXES]
            if unknown:
                raise ValueError(
                    f"The rule for {shown(target)} sets {', '.join(map(shown, unknown[:8]))}, which no rule can set. "
                    f"Expected one of: {', '.join(AXES)}."
                )
            return cls(target, **value)
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            return cls(target, schedule=value)
        return cls(target, multiplier=checked_multiplier(value, f"multiplier of {describe(target)}"))


def describe(target: Any) -> str:
    """How a target is named in tables and errors."""
    if isinstance(target, str):
        return f"'{target}'" if len(target) <= 200 else f"'{target[:200]}...'"
    if isinstance(target, keras.Variable):
        return f"variable {target.path}"
    if isinstance(target, keras.Layer):
        return f"layer {target.name}"
    name = getattr(target, "__qualname__", None)
    return f"function {name.rsplit('.', 1)[-1]}" if name else shown(target)


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
        raise TypeError(
            "Rules are a mapping such as {'backbone': 0.1}, a list of (target, value) pairs, or a list of difflr.Rule. "
            f"Received: {shown(rules)} (of type {type(rules).__name__})."
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
