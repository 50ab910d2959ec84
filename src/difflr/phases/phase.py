"""`Phase`: one stretch of training."""

import dataclasses
import json
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr.checks import checked_option, checked_rate, did_you_mean, is_number, shown
from difflr.phases import saved_phase
from difflr.phases.metric import direction
from difflr.phases.rules_of_phase import rules_of_phase
from difflr.plan.rows import STATISTICS
from difflr.plan.rule import describe
from difflr.signatures import why_it_does_not_take
from difflr.text_table import counted

MODES = ("auto", "min", "max")
BY_HAND = saved_phase.BY_HAND


@dataclasses.dataclass(frozen=True, eq=False)
class Phase:
    """A part of a training: which variables train, at which rates, and when it ends.

    A phase is the model's plan with changes that last as long as the phase. What the plan freezes stays frozen.

    Args:
        trainable: The trainable variables: a target or a list of targets, as in `difflr.Rule`: layer-tree paths and patterns
            (`"backbone/block5*"`, `"*"` for everything), kinds (`"kind:head"`), layers, variables, functions.
        epochs: Integer. The phase ends after this many epochs, counting the one in which it begins.
        steps: Integer. The phase ends after this many optimizer steps, also in the middle of an epoch.
        monitor: The name of a metric such as `"val_loss"`. The phase ends when it stops improving, or after
            `epochs` if set.
        patience: Integer. The number of epochs without improvement after which the phase ends, as in
            `keras.callbacks.EarlyStopping`.
        min_delta: Float >= 0. The smallest change that counts as an improvement.
        mode: `"min"`, `"max"`, or `"auto"` (from the name of the metric).
        warmup_steps: Integer. The rate of newly unfrozen variables rises linearly over this many steps.
        own_bias_correction: Whether newly unfrozen variables count their own steps for the bias correction. `None`: if the
            optimizer is Adam, AdamW or Adamax, for which this is exact.
        frozen_statistics: What fully frozen BatchNormalization layers do with their moving statistics in this phase:
            `"keep"` or `"update"`; `None` for the plan's setting.
        schedule: A `keras.optimizers.schedules.LearningRateSchedule`, a factor on the rates of all trainable variables, as
            a function of the steps since the phase began.
        multipliers: Rules for this phase alone, in any form that `difflr.Plan` takes. They come after those of the plan,
            so they win, axis by axis; a schedule in them counts from the start of the phase. A `difflr.Plan` replaces the
            model's plan.
        learning_rate: Float > 0. The base rate from the start of this phase, until a callback or a later phase changes it.
            Not for an optimizer whose base rate is a schedule.
        threshold: Float. The phase ends when `monitor` reaches it.
        until: Function `(epoch, logs) -> bool`, called after every epoch: `True` ends the phase. Or `"next_phase"`: the
            phase ends when `PhaseScheduler.next_phase()` is called.
        restore_best: Boolean. When the phase ends, the weights of its best epoch by `monitor` are restored, with the
            optimizer's state of their variables.

    Raises:
        TypeError: If `multipliers` are not rules.
        ValueError: If an argument is invalid, or two contradict each other.

    Example:

    ```python
    import difflr

    difflr.Phase(trainable=["head", "backbone/block5*"], epochs=2, multipliers={"head": 0.1}, warmup_steps=20)
    ```

    Reference: the phases of finetuning-scheduler (epochs or early stopping as the transition, `restore_best`, rates and
    schedulers by phase).
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
    multipliers: Any = None
    learning_rate: float | None = None
    threshold: float | None = None
    until: str | Callable[[int, dict[str, float]], bool] | None = None
    restore_best: bool = False

    def __post_init__(self) -> None:
        trainable = self.trainable
        several = isinstance(trainable, Iterable) and not isinstance(
            trainable, (str, keras.Layer, keras.Variable, Mapping)
        )
        object.__setattr__(self, "trainable", tuple(trainable) if several else (trainable,))
        if not self.trainable:
            raise ValueError("A phase needs something to train: give `trainable` at least one target.")
        for name, smallest in (("epochs", 1), ("steps", 1), ("patience", 0), ("warmup_steps", 0)):
            value = getattr(self, name)
            optional = name in ("epochs", "steps") and value is None
            if isinstance(value, np.integer):
                value = int(value)
                object.__setattr__(self, name, value)  # a number of NumPy has no JSON
            if not optional and (isinstance(value, bool) or not isinstance(value, int) or value < smallest):
                raise ValueError(f"`{name}` of a phase must be an integer >= {smallest}. Received: {shown(value)}.")
        if not is_number(self.min_delta) or not self.min_delta >= 0:
            raise ValueError(f"`min_delta` of a phase must be a number >= 0. Received: {shown(self.min_delta)}.")
        if self.threshold is not None and (not is_number(self.threshold) or math.isnan(self.threshold)):
            raise ValueError(f"`threshold` of a phase must be a number or None. Received: {shown(self.threshold)}.")
        self._check_ends()
        for name, allowed in (
            ("own_bias_correction", (True, False, None)),
            ("frozen_statistics", (*STATISTICS, None)),
            ("restore_best", (True, False)),
            ("mode", MODES),
        ):
            checked_option(getattr(self, name), name, allowed)
        if self.schedule is not None and not isinstance(self.schedule, LearningRateSchedule):
            raise ValueError(
                "`schedule` of a phase must be a keras.optimizers.schedules.LearningRateSchedule, a factor on the rate. "
                f"Received: {shown(self.schedule)}."
            )
        if self.learning_rate is not None:
            if isinstance(self.learning_rate, LearningRateSchedule):
                raise ValueError(
                    "`learning_rate` of a phase is a number, the base rate; over its steps the rate changes by `schedule`, "
                    "a factor. Received a schedule: write learning_rate=1e-3, schedule=OneCycle(1.0, num_steps)."
                )
            object.__setattr__(self, "learning_rate", checked_rate(self.learning_rate, "learning_rate"))
        if self.multipliers is not None:
            object.__setattr__(self, "multipliers", rules_of_phase(self.multipliers))
        if self.monitor is not None:
            self._check_monitor()

    def _check_ends(self) -> None:
        others = {name: getattr(self, name) for name in ("epochs", "monitor", "until")}
        if self.steps is not None and any(value is not None for value in others.values()):
            raise ValueError(
                "A phase ends after `steps`; or by `epochs`, `monitor` and `until`, whichever comes first. Received: "
                f"steps={self.steps} with {', '.join(f'{k}={shown(v)}' for k, v in others.items() if v is not None)}."
            )
        about_a_metric = self.patience or self.min_delta or self.mode != "auto" or self.threshold is not None
        if self.monitor is None and (about_a_metric or self.restore_best):
            raise ValueError(
                "`patience`, `min_delta`, `mode`, `threshold` and `restore_best` of a phase are about a metric: give it "
                "`monitor` too."
            )
        if self.until is not None and self.until != BY_HAND and not callable(self.until):
            raise ValueError(
                f"`until` of a phase must be a function (epoch, logs) -> bool, or {BY_HAND!r} for a phase that ends when "
                f"`PhaseScheduler.next_phase()` is called. Received: {shown(self.until)}."
                f"{did_you_mean(str(self.until), [BY_HAND])}"
            )
        if callable(self.until) and (why := why_it_does_not_take(self.until, 0, {})):
            raise ValueError(
                "`until` of a phase must be a function of two arguments, (epoch, logs) -> bool. Received: "
                f"{describe(self.until)}: {why}."
            )

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
        """Whether all arguments are equal; targets that are objects are compared by identity."""
        return isinstance(other, Phase) and self.text == other.text and self._objects() == other._objects()

    def __hash__(self) -> int:
        return hash(self.text)

    def _objects(self) -> list[int]:
        """The identities of targets and functions that have no text."""
        named = [self.until] if callable(self.until) else []
        return [id(thing) for thing in (*named, *saved_phase.objects_in(self))]

    @property
    def text(self) -> str:
        """All arguments of the phase in one line, with the names that tables show for objects."""
        return json.dumps(saved_phase.to_config(self, name_objects=True), sort_keys=True)

    @property
    def endless(self) -> bool:
        """Whether the phase lasts to the end of `fit`."""
        return self.epochs is None and self.steps is None and not self.is_open

    @property
    def is_open(self) -> bool:
        """Whether the phase ends by a metric, a function, or `next_phase()`."""
        return self.monitor is not None or self.until is not None

    @property
    def longest_wait(self) -> int | None:
        """The number of epochs without improvement after which the phase ends; `None` if it does not end that way."""
        reaches = self.threshold is not None and not self.patience
        return None if self.monitor is None or reaches else max(self.patience, 1)

    def is_better(self, value: float, best: float | None) -> bool:
        """Whether a value of the monitored metric is an improvement.

        Args:
            value: The value.
            best: The best value so far, if any.
        """
        if best is None:
            return value == value  # NaN is no improvement
        return value < best - self.min_delta if self.mode == "min" else value > best + self.min_delta

    def is_reached(self, epoch: int, logs: dict[str, float]) -> bool:
        """Whether the phase ends after this epoch by its threshold or its function.

        Args:
            epoch: The number of the epoch, from 0.
            logs: The metrics of the epoch.
        """
        if self.threshold is not None and self.monitor in logs:
            reaches = operator.le if self.mode == "min" else operator.ge
            if reaches(logs[self.monitor], self.threshold):
                return True
        try:
            return callable(self.until) and bool(self.until(epoch, dict(logs)))
        except KeyError as error:
            raise ValueError(
                f"`until` of a phase asks for {error}, which the logs of epoch {epoch + 1} do not have. Received: "
                f"{', '.join(logs)}.{did_you_mean(str(error.args[0]), logs)}"
            ) from error

    @property
    def who(self) -> str:
        """The trainable targets as text."""
        return ", ".join(target if isinstance(target, str) else describe(target) for target in self.trainable)

    @property
    def ends(self) -> str:
        """When the phase ends, as text."""
        if self.steps is not None:
            return counted(self.steps, "step")
        reasons = []
        if self.longest_wait is not None:
            reasons.append(f"{self.monitor} stops improving, patience {self.patience}")
        if self.threshold is not None:
            reasons.append(f"{self.monitor} reaches {self.threshold:g}")
        if self.until == BY_HAND:
            reasons.append("next_phase() is called")
        elif self.until is not None:
            reasons.append(f"{describe(self.until)} says so")
        if self.epochs is not None:
            reasons.append(counted(self.epochs, "epoch"))
        return ", or ".join(reasons) or "the end"

    def to_dict(self) -> dict[str, Any]:
        """The arguments that differ from the defaults, as plain data.

        Raises:
            ValueError: If a target is an object, which has no text, or `until` is a function that is not registered with
                Keras.
        """
        return saved_phase.to_config(self)

    @classmethod
    def from_dict(cls, config: Any) -> "Phase":
        """A phase from the output of `to_dict`, or from data written by hand.

        Raises:
            ValueError: If it is not a phase; the message lists the known names.
        """
        return cls(**saved_phase.from_config(config, [field.name for field in dataclasses.fields(cls)]))
