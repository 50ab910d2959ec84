"""`Phase` and `Phases`: who is trainable when, as data that can be printed, saved, edited and read back."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from difflr import checks
from difflr.checks import shown
from difflr.plan.rows import STATISTICS
from difflr.plan.rule import describe
from difflr.plan.schedule_json import schedule_from_json, schedule_to_json

MODES = ("auto", "min", "max")
SMALLER_IS_BETTER = ("loss", "error", "divergence", "perplexity")
LARGER_IS_BETTER = ("acc", "auc", "precision", "recall", "iou", "f1", "fbeta", "score", "similarity")
MAX_CHARACTERS = 100_000
MAX_MESSAGE = 500


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
            name = self.monitor.lower()
            smaller = any(word in name for word in SMALLER_IS_BETTER)
            if smaller == any(word in name for word in LARGER_IS_BETTER):
                raise ValueError(
                    f"The name {shown(self.monitor)} does not tell whether smaller or larger is better. Give the phase "
                    "mode='min' or mode='max'."
                )
            object.__setattr__(self, "mode", "min" if smaller else "max")

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


class Phases(Sequence[Phase]):
    """The phases of one training, one after another. `difflr.PhaseScheduler` walks through them.

    Phases can be printed, saved as YAML, edited and read back. Ready ones are made by `difflr.phases`.

    Args:
        phases: List of `difflr.Phase`. All but the last need an end. If the last has one as well and it comes by
            steps or by a metric, training stops there.

    Raises:
        ValueError: If there is no phase, or one comes after a phase without an end.

    Example:

    ```python
    import difflr

    phases = difflr.Phases([difflr.Phase(trainable="head", epochs=1), difflr.Phase(trainable="*")])
    print(phases)
    assert difflr.Phases.from_dict(phases.to_dict()) == phases
    ```

    Reference: the generated and editable schedules of finetuning-scheduler.
    """

    def __init__(self, phases: Iterable[Phase]):
        if isinstance(phases, Phase):
            phases = [phases]
        self._phases = tuple(phases)
        for each in self._phases:
            if not isinstance(each, Phase):
                raise TypeError(f"Phases are made of difflr.Phase. Received: {each!r} (of type {type(each).__name__}).")
        if not self._phases:
            raise ValueError(
                "There is no phase in the list. The simplest is difflr.Phases([difflr.Phase(trainable='*')])."
            )
        for number, phase in enumerate(self._phases[:-1], start=1):
            if phase.endless:
                raise ValueError(
                    f"Phase {number} has no end, so that phase {number + 1} never begins. Give it `epochs`, `steps` or "
                    "`monitor`; only the last phase goes without."
                )

    def __getitem__(self, number: Any) -> Any:
        return self._phases[number]

    def __len__(self) -> int:
        return len(self._phases)

    def __iter__(self) -> Iterator[Phase]:
        return iter(self._phases)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Phases) and self._phases == other._phases

    __hash__ = None  # type: ignore[assignment]

    def table(self, model: keras.Layer | None = None) -> str:
        """The phases as an aligned table.

        Args:
            model: A built model, or a plan: adds who is trainable, joins and freezes in numbers of parameters.

        Raises:
            ValueError: If the phases do not fit the model.
        """
        from difflr.phases.table import as_text

        return as_text(self, model)

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return f"<difflr.Phases: {', then '.join(f'{phase.who} until {phase.until}' for phase in self)}>"

    def to_dict(self) -> dict[str, Any]:
        """The phases as plain data, which JSON can hold.

        Raises:
            ValueError: If a target is an object, for which there is no text.
        """
        return {"phases": [phase.to_dict() for phase in self]}

    @classmethod
    def from_dict(cls, config: Any) -> "Phases":
        """The phases that `to_dict` wrote.

        Raises:
            ValueError: If it holds no phases; the message says which one is wrong.
        """
        checks.check(config, "What phases are made of")
        if not isinstance(config, Mapping) or set(config) != {"phases"} or not isinstance(config["phases"], list):
            raise ValueError(
                f"Phases are a mapping with one key, 'phases', and a list below it. Received: {shown(config)}."
            )
        made = []
        for number, each in enumerate(config["phases"], start=1):
            try:
                made.append(Phase.from_dict(each))
            except ValueError as error:
                raise ValueError(f"Phase {number}: {error}") from None
        return cls(made)

    def to_yaml(self) -> str:
        """The phases as YAML, to be edited.

        Raises:
            ImportError: If PyYAML is not installed.
            ValueError: If a target is an object, for which there is no text.
        """
        text: str = _yaml().safe_dump(self.to_dict(), sort_keys=False)
        return text

    @classmethod
    def from_yaml(cls, text: str) -> "Phases":
        """The phases in a YAML text.

        Args:
            text: The text; nothing but plain data is read from it.

        Raises:
            ImportError: If PyYAML is not installed.
            ValueError: If it holds no phases.

        Example:

        ```yaml
        phases:
        - trainable: [head]
          epochs: 1
        - trainable: ["*"]
        ```
        """
        if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
            raise ValueError(f"Expected YAML text of at most {MAX_CHARACTERS} characters. Received: {shown(text)}.")
        yaml = _yaml()
        try:
            config = yaml.load(text, _plain_loader(yaml))
        except Exception as error:  # PyYAML raises what Python does with a bad number, date or key
            raise ValueError(
                f"This is no YAML that can be read: {str(error)[:MAX_MESSAGE]}\n"
                "Text that begins with * needs quotes in YAML: trainable: '*'."
            ) from None
        return cls.from_dict(config)


def _plain_loader(yaml: Any) -> Any:
    """PyYAML's safe loader, without what makes a small text large or says a thing twice."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError("aliases (&name, *name) are not used here.")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) != len(keys):
                twice = next(key for key, number in collections.Counter(keys).items() if number > 1)
                raise ValueError(f"{shown(twice)} is said twice in one mapping.")
            return super().construct_mapping(node, deep)

    return Loader


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise ImportError(
            'Phases as YAML need PyYAML: pip install "difflr[yaml]". Without it there are `to_dict` and `from_dict`.'
        ) from None
    return yaml
