"""`Phase`: one stretch of training."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from difflr.checks import shown
from difflr.phases.metric import direction
from difflr.plan.rows import STATISTICS
from difflr.plan.rule import describe
from difflr.plan.schedule_json import schedule_from_json, schedule_to_json

MODES = ("auto", "min", "max")


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
    """One stretch of training: who is trainable in it, and when it ends.

    At what rate the trainable variables train is the matter of the optimizer's plan. What the plan freezes stays frozen in
    every phase.

    Args:
        trainable: Who trains: a target, or a list of targets, as in `difflr.Rule`: layer-tree paths and patterns
            (`"backbone/block5*"`, `"*"` for everything), kinds (`"kind:head"`), layers, variables, functions.
        epochs: Integer. The phase ends after so many epochs, the one in which it begins included.
        steps: Integer. The phase ends after so many steps of the optimizer, in the middle of an epoch too.
        monitor: The name of a metric such as `"val_loss"`. The phase ends when it has stopped improving; with
            `epochs` as well, at the latest after these.
        patience: Integer. The number of epochs without improvement after which it ends, as in
            `keras.callbacks.EarlyStopping`.
        min_delta: Float >= 0. What counts as an improvement.
        mode: `"min"`, `"max"`, or `"auto"`: told by the name of the metric.
        warmup_steps: Integer. The rate of those who join in this phase rises linearly over so many steps.
        own_bias_correction: Whether those who join count the steps of the optimizer's bias correction for themselves.
            `None`: where that can be done exactly (Adam, AdamW, Adamax).
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, a factor on the learning rate of all who train in
            this phase, as a function of the steps since it began.
        frozen_statistics: What the moving statistics of BatchNormalization layers do that are frozen whole in this
            phase: `"keep"` or `"update"`; `None` for what the plan says.

    Raises:
        ValueError: If a value is not of its kind, or two of them contradict each other.

    Example:

    ```python
    import difflr

    difflr.Phase(trainable=["head", "backbone/block5*"], epochs=2, warmup_steps=20)
    ```

    Reference: the phases of finetuning-scheduler (epochs or early stopping as the transition).
    """

    trainable: Any
    epochs: int | None = None
    steps: int | None = None
    monitor: str | None = None
    patience: int = 0
    min_delta: float = 0.0
    mode: str = "auto"
    warmup_steps: int = 0
    own_bias_correction: bool | None = None
    frozen_statistics: str | None = None
    schedule: Any = None

    def __post_init__(self) -> None:
        trainable = self.trainable
        several = isinstance(trainable, Iterable) and not isinstance(
            trainable, (str, keras.Layer, keras.Variable, Mapping)
        )
        object.__setattr__(self, "trainable", tuple(trainable) if several else (trainable,))
        if not self.trainable:
            raise ValueError(
                "A phase in which nobody is trainable trains nothing. Give `trainable` at least one target."
            )
        for name, smallest in (("epochs", 1), ("steps", 1), ("patience", 0), ("warmup_steps", 0)):
            value = getattr(self, name)
            optional = name in ("epochs", "steps") and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, int) or value < smallest):
                raise ValueError(f"`{name}` of a phase must be an integer >= {smallest}. Received: {shown(value)}.")
        if isinstance(self.min_delta, bool) or not isinstance(self.min_delta, (int, float)) or not self.min_delta >= 0:
            raise ValueError(f"`min_delta` of a phase must be a number >= 0. Received: {shown(self.min_delta)}.")
        if self.steps is not None and (self.epochs is not None or self.monitor is not None):
            raise ValueError(
                "A phase ends after `steps` or after `epochs` or when `monitor` stops to improve. Received: "
                f"steps={self.steps} with epochs={self.epochs}, monitor={shown(self.monitor)}. "
                "Only `monitor` and `epochs` go together."
            )
        if self.monitor is None and (self.patience or self.min_delta or self.mode != "auto"):
            raise ValueError("`patience`, `min_delta` and `mode` of a phase are about a metric: give it `monitor` too.")
        if self.mode not in MODES:
            raise ValueError(f"`mode` of a phase must be 'auto', 'min' or 'max'. Received: {shown(self.mode)}.")
        if self.own_bias_correction not in (None, True, False):
            raise ValueError(
                f"`own_bias_correction` must be True, False or None. Received: {shown(self.own_bias_correction)}."
            )
        if self.frozen_statistics is not None and self.frozen_statistics not in STATISTICS:
            raise ValueError(
                f"`frozen_statistics` must be 'keep', 'update' or None. Received: {shown(self.frozen_statistics)}."
            )
        if self.schedule is not None and not isinstance(self.schedule, LearningRateSchedule):
            raise ValueError(
                "`schedule` of a phase must be a keras.optimizers.schedules.LearningRateSchedule, a factor on the rate. "
                f"Received: {shown(self.schedule)}."
            )
        if self.monitor is not None:
            self._check_monitor()

    def _check_monitor(self) -> None:
        if not isinstance(self.monitor, str) or not self.monitor:
            raise ValueError(
                f"`monitor` must be the name of a metric, such as 'val_loss'. Received: {shown(self.monitor)}."
            )
        if self.mode == "auto":
            better = direction(self.monitor)
            if not better:
                raise ValueError(
                    f"The name {shown(self.monitor)} does not tell whether smaller or larger is better. Give the phase "
                    "mode='min' or mode='max'."
                )
            object.__setattr__(self, "mode", "min" if better < 0 else "max")

    def __eq__(self, other: object) -> bool:
        """Whether both say the same; targets that are objects are compared by identity."""
        return isinstance(other, Phase) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        targets = tuple(target if isinstance(target, str) else id(target) for target in self.trainable)
        schedule = "" if self.schedule is None else json.dumps(schedule_to_json(self.schedule), sort_keys=True)
        others = [f.name for f in dataclasses.fields(self) if f.name not in ("trainable", "schedule")]
        return targets, schedule, *(getattr(self, name) for name in others)

    @property
    def endless(self) -> bool:
        """Whether it lasts to the end of `fit`."""
        return self.epochs is None and self.steps is None and self.monitor is None

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value of the monitored metric is an improvement.

        Args:
            value: The value.
            best: The best one so far, `None` for none.
        """
        if best is None:
            return value == value  # nan is none
        return value < best - self.min_delta if self.mode == "min" else value > best + self.min_delta

    @property
    def who(self) -> str:
        """Its targets as text."""
        return ", ".join(target if isinstance(target, str) else describe(target) for target in self.trainable)

    @property
    def until(self) -> str:
        """When it ends, as text."""
        if self.endless:
            return "the end"
        if self.steps is not None:
            return _counted(self.steps, "step")
        if self.monitor is None:
            return _counted(self.epochs or 0, "epoch")
        text = f"{self.monitor} stops to improve, patience {self.patience}"
        return text if self.epochs is None else f"{text}, or {_counted(self.epochs, 'epoch')}"

    def to_dict(self) -> dict[str, Any]:
        """What is not a default, as plain data.

        Raises:
            ValueError: If a target is an object, for which there is no text.
        """
        objects = [describe(target) for target in self.trainable if not isinstance(target, str)]
        if objects:
            raise ValueError(
                f"A phase can be saved if its targets are text. Received: {', '.join(objects)}. Use the layer-tree path, "
                "which print(difflr.Plan(model)) shows."
            )
        changed = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "trainable"}
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        changed = {name: value for name, value in changed.items() if value != defaults[name]}
        if self.schedule is not None:
            changed["schedule"] = schedule_to_json(self.schedule)
        return {"trainable": list(self.trainable), **changed}

    @classmethod
    def from_dict(cls, config: Any) -> "Phase":
        """The phase that `to_dict` wrote, or that somebody wrote by hand.

        Raises:
            ValueError: If it is none; the message has the names that a phase knows.
        """
        if not isinstance(config, Mapping) or "trainable" not in config:
            raise ValueError(f"A phase is a mapping with at least 'trainable'. Received: {shown(config)}.")
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [name for name in config if name not in known]
        if unknown:
            raise ValueError(
                f"A phase has no {', '.join(map(shown, unknown[:8]))}. Expected some of: {', '.join(known)}."
            )
        targets = config["trainable"] if isinstance(config["trainable"], (list, tuple)) else [config["trainable"]]
        if not all(isinstance(target, str) for target in targets):
            raise ValueError(
                f"'trainable' of a saved phase is text, or a list of texts. Received: {shown(config['trainable'])}."
            )
        made = dict(config)
        if made.get("schedule") is not None:
            made["schedule"] = schedule_from_json(made["schedule"])
        return cls(**made)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
