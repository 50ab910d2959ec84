"""`Choice`: the result of `difflr.suggest`. Print it, save it, or pass it to `difflr.fine_tune`."""

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from difflr.checks import read_json
from difflr.files import write_whole
from difflr.plan import Plan
from difflr.report import drawing
from difflr.text_table import ShownAsTable, TextTable, counted, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAYBE_INFINITE = ("loss", "better_by")  # of a `Tried`: JSON has no number for that


@dataclasses.dataclass(frozen=True)
class Tried:
    """The measurements of one candidate.

    Args:
        profile: The name of the candidate, such as `"head alone"`.
        learning_rate: The base rate.
        loss: The mean loss on held-out examples. For classifiers, at the best temperature.
        accuracy: The accuracy on the same examples; `None` unless the model is a classifier.
        examples: The number of held-out examples.
        better_by: The lead over the defaults on the same examples, in standard errors.
    """

    profile: str
    learning_rate: float
    loss: float
    accuracy: float | None
    examples: int
    better_by: float


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a search.

    Args:
        train_steps: The training steps of all trials.
        forward_batches: The batches that were only evaluated.
        run_steps: The training steps of the run that the choice is for.
        seconds: Wall-clock time.
    """

    train_steps: int
    forward_batches: int
    run_steps: int
    seconds: float = dataclasses.field(compare=False, default=0.0)

    @property
    def runs(self) -> float:
        """The cost as a share of the run. An evaluated batch counts as a third of a step."""
        return (self.train_steps + self.forward_batches / 3) / self.run_steps

    def __str__(self) -> str:
        return (
            f"{self.train_steps} training steps and {self.forward_batches} evaluated batches, {self.runs:.2g} of a run of "
            f"{self.run_steps} steps; {self.seconds:.0f} s"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Choice(ShownAsTable):
    """How to fine-tune a model, as measured by `difflr.suggest`. Print it; pass it to `difflr.fine_tune`.

    Args:
        learning_rate: The base rate.
        plan: The `difflr.Plan`.
        head_first: Whether the head trains alone first. If the plan trains only the head, this is the whole run.
        reason: Why this was chosen, or why nothing could be measured and the defaults of `fine_tune` are kept.
        trials: The measurements: a list of `Tried`, the defaults of `fine_tune` first.
        cost: The cost of the search.
        is_measured: Whether a candidate was measurably better than the defaults.

    Example:

    ```python
    import keras
    import difflr

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    choice = difflr.suggest(model, x, y, epochs=2, loss=loss, verbose=0)
    choice.save("choice.json")
    choice = difflr.Choice.load("choice.json", model)
    difflr.fine_tune(model, x, y, epochs=2, learning_rate=choice, loss=loss, verbose=0)
    ```
    """

    learning_rate: float
    plan: Plan
    head_first: bool
    reason: str
    trials: Sequence[Tried]
    cost: Cost
    is_measured: bool

    def __eq__(self, other: object) -> bool:
        """Whether both are equal, apart from the time that the search took."""
        if not isinstance(other, Choice):
            return NotImplemented
        ours, others = self.to_dict(), other.to_dict()
        return {**ours, "cost": self.cost} == {**others, "cost": other.cost}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<difflr.Choice: {self._chosen()}, {counted(len(self.trials), 'candidate')} tried>"

    def __str__(self) -> TextTable:
        lines = [
            [
                tried.profile,
                f"{tried.learning_rate:.2g}",
                "-" if tried.accuracy is None else f"{tried.accuracy:.1%}",
                f"{tried.loss:.4g}",
                str(tried.examples),
                "-" if tried is self.trials[0] else f"{tried.better_by:+.1f}",
            ]
            for tried in self.trials
        ]
        header = ["candidate", "rate", "accuracy", "loss", "examples", "better by"]
        return text_table(header, lines, {0}, f"chosen: {self._chosen()}\nwhy: {self.reason}\ncost: {self.cost}")

    def _chosen(self) -> str:
        frozen = sum(row.frozen for row in self.plan.rows)
        groups, variables = counted(len(self.plan.groups), "group"), counted(frozen, "variable")
        return f"rate {self.learning_rate:.2g}, {groups}, {variables} frozen"

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draws a bar for each candidate: its accuracy, or its loss for models that are not classifiers.

        Args:
            axes: The matplotlib axes to draw on. By default new ones, of a new figure.

        Raises:
            ImportError: If matplotlib is not installed.
            ValueError: If nothing was tried.
        """
        if not self.trials:
            raise ValueError(f"There is nothing to plot, because no candidate was tried: {self.reason}.")
        axes = drawing.new_axes(drawing.height_for(2 * len(self.trials))) if axes is None else axes
        by_accuracy = all(tried.accuracy is not None for tried in self.trials)
        color = drawing.COLORS[0]
        for position, tried in enumerate(self.trials):
            value = tried.accuracy if by_accuracy and tried.accuracy is not None else tried.loss
            axes.barh(position, value if math.isfinite(value) else 0.0, color=color)
            if not math.isfinite(value):
                axes.text(0.0, position, "diverged", verticalalignment="center")
        names = [f"{tried.profile}, rate {tried.learning_rate:.2g}" for tried in self.trials]
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.invert_yaxis()
        axes.set_xlabel("accuracy on held-out examples" if by_accuracy else "loss on held-out examples")
        return axes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the choice as JSON, atomically.

        Args:
            path: The file to write.

        Raises:
            OSError: If it cannot be written.
        """
        write_whole(path, json.dumps(self.to_dict(), indent=1))

    @classmethod
    def load(cls, path: str | os.PathLike[str], model: keras.Layer) -> "Choice":
        """Loads a choice that `save` wrote.

        Args:
            path: The file to read.
            model: A built model with the same layer tree.

        Raises:
            OSError: If it cannot be read.
            ValueError: If the file does not contain a choice, or the choice is for another model.
        """
        data = read_json(Path(path).read_text(), "The choice")
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(data, dict) or set(data) != set(names):
            raise ValueError(f"{path} does not contain a choice. Expected the keys {', '.join(names)}.")
        numbers = [{**tried, **{name: float(tried[name]) for name in MAYBE_INFINITE}} for tried in data["trials"]]
        plan = Plan.from_json(model, json.dumps(data["plan"]))
        trials = [Tried(**tried) for tried in numbers]
        return cls(**{**data, "plan": plan, "cost": Cost(**data["cost"]), "trials": trials})

    def to_dict(self) -> dict[str, Any]:
        """The choice as JSON-serializable data."""
        data = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        trials = [dataclasses.asdict(tried) for tried in self.trials]
        trials = [{**tried, **{name: repr(tried[name]) for name in MAYBE_INFINITE}} for tried in trials]
        plan = json.loads(self.plan.to_json())
        return {**data, "plan": plan, "trials": trials, "cost": dataclasses.asdict(self.cost)}
