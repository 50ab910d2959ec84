"""What every kind of evaluation has: numbers, a table, the worst mistakes, and plots."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

from difflr.report import drawing
from difflr.text_table import ShownAsTable, TextTable, text_table

HITS = ("examples", "precision", "recall", "F1")  # columns of a table of `hits`
Shown: TypeAlias = "np.ndarray | str"  # an image of bytes, (height, width, channels), or a text


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot that is not drawn yet.

    Args:
        name: A short name, such as `"confusion"`.
        title: What it shows.
        draw: Function that draws on matplotlib axes.
        height: Float, inches.
    """

    name: str
    title: str
    draw: Callable[[drawing.Axes], None]
    height: float


@dataclasses.dataclass(frozen=True)
class Mistake:
    """An example that was predicted wrongly.

    Args:
        position: Its number, from 0.
        name: Its name, such as a file.
        truth: What it is.
        predicted: What it was predicted as, with the probability if there is one.
        badness: Float, by which the worst come first.
    """

    position: int
    name: str
    truth: str
    predicted: str
    badness: float


@dataclasses.dataclass(frozen=True)
class Measured(ShownAsTable, ABC):
    """What a model gets right and wrong on examples whose answers are known.

    Args:
        y: The answers.
        scores: What was predicted.
        class_names: The names of the columns of `scores`.
        names: The names of the examples.
        show: Function from a position to the image or text there; `None` if there is nothing to show.
    """

    columns: ClassVar[str]  # what the columns of `scores` are
    y: np.ndarray
    scores: np.ndarray
    class_names: tuple[str, ...]
    names: Sequence[str]
    show: Callable[[int], Shown] | None = None

    def __len__(self) -> int:
        return len(self.y)

    @abstractmethod
    def numbers(self) -> dict[str, float]:
        """The metrics over all examples: name -> value, the main one first."""

    @abstractmethod
    def sentence(self) -> str:
        """The main result in a sentence."""

    @abstractmethod
    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows of a table with a row for each class, label or output."""

    @abstractmethod
    def all_mistakes(self) -> list[Mistake]:
        """The mistakes, in the order of the examples."""

    @abstractmethod
    def plots(self) -> list[Plot]:
        """The plots."""

    @property
    @abstractmethod
    def measures(self) -> dict[str, np.ndarray]:
        """Measure -> its value for each column of `scores`."""

    def details(self) -> dict[str, Any]:
        """What `--json` has beside the numbers, as plain data."""
        values = {
            name: {measure: plain(values[number]) for measure, values in self.measures.items()}
            for number, name in enumerate(self.class_names)
        }
        return {self.columns: values}

    def rows_of_hits(self) -> list[list[str]]:
        """The lines of a table with the columns `HITS`."""
        found = self.measures
        return [
            [
                name,
                f"{found['examples'][number]:,}",
                *(percent(found[measure][number]) for measure in ("precision", "recall", "f1")),
            ]
            for number, name in enumerate(self.class_names)
        ]

    def __str__(self) -> TextTable:
        return text_table(*self.table(), left={0}, footer=self.sentence())

    def mistakes(self, most: int) -> list[Mistake]:
        """The worst mistakes, the worst first.

        Args:
            most: How many at most.
        """
        return sorted(self.all_mistakes(), key=lambda mistake: -mistake.badness)[:most]

    def as_data(self, most: int = 50) -> dict[str, Any]:
        """All of it as plain data.

        Args:
            most: How many mistakes at most.
        """
        return {
            "num_examples": len(self),
            **{name: plain(np.float64(value)) for name, value in self.numbers().items()},
            **self.details(),
            "mistakes": [dataclasses.asdict(mistake) for mistake in self.mistakes(most)],
        }


def percent(value: float) -> str:
    """A share as text; `-` if there is none."""
    return "-" if np.isnan(value) else f"{100 * value:.1f} %"


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, "float64"), np.asarray(whole, "float64")
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def mean_of_known(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN if nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def plain(value: np.number[Any]) -> float | int | None:
    """A number as JSON can hold it; `None` for NaN."""
    return None if np.isnan(value) else value.item()  # type: ignore[return-value]


def hits(right: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> dict[str, np.ndarray]:
    """Precision, recall, F1 and number of examples of each class; NaN where they are not defined.

    Args:
        right: How often it was predicted rightly.
        predicted: How often it was predicted.
        actual: How often it occurs.
    """
    f1 = ratio(2 * np.asarray(right), np.asarray(predicted) + np.asarray(actual))
    return {"precision": ratio(right, predicted), "recall": ratio(right, actual), "f1": f1, "examples": actual}
