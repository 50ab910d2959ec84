"""`Examples`: inputs and labels that were read from files, and what could not be read."""

import dataclasses
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from difflr.checks import did_you_mean
from difflr.data.image_files import ImageFiles

# Where more cannot be read, the files are another thing than was meant.
MOST_SKIPPED = 0.1
MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs and their labels.

    Args:
        x: The inputs, `(num_examples, ...)`: images in 0..255 (uint8), texts (object), or numbers; or a
            `difflr.data.ImageFiles`.
        y: The labels: positions in `class_names`, `(num_examples,)` int32; or, with any number of labels per example, 0 and
            1, `(num_examples, num_classes)` float32; or numbers to predict, float32.
        class_names: The names of the classes, in the order of the model's outputs; empty if `y` has numbers to predict.
        skipped: Pairs of a file (or row) that was left out and the reason.
        notes: Changes of the data that the user should know.

    Example:

    ```python
    examples = difflr.data.Examples(x, y, ("cat", "dog", "bird"))
    train = examples.take(range(24))
    print(len(train), train.counts())  # 24 {'cat': 8, 'dog': 8, 'bird': 8}
    ```
    """

    x: np.ndarray | ImageFiles
    y: np.ndarray
    class_names: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)

    @property
    def task(self) -> str:
        """The kind of target: `"classes"`, one per example; `"labels"`, any number per example; or `"numbers"`."""
        return task_of(self.y, self.class_names)

    def take(self, positions: Sequence[int] | np.ndarray) -> "Examples":
        """The examples at `positions`."""
        chosen = np.asarray(positions, "int64")
        x = self.x.take(chosen) if isinstance(self.x, ImageFiles) else self.x[chosen]
        return dataclasses.replace(self, x=x, y=self.y[chosen])

    def counts(self) -> dict[str, int]:
        """The number of examples of each class."""
        if not self.class_names:
            return {}
        several = self.task == "labels"
        numbers = self.y.sum(0) if several else np.bincount(self.y, minlength=len(self.class_names))
        return {name: int(number) for name, number in zip(self.class_names, numbers, strict=True)}


def task_of(y: np.ndarray, class_names: Sequence[str]) -> str:
    """The kind of target: see `Examples.task`.

    Args:
        y: The targets.
        class_names: The names of the classes; none if `y` holds numbers.
    """
    return "numbers" if not class_names else "labels" if y.ndim == 2 else "classes"


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted: as numbers where all are, else by the alphabet."""
    found = set(names)
    return tuple(sorted(found, key=int) if all(name.isdecimal() for name in found) else sorted(found))


def known_classes(found: Iterable[str], given: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """The classes to number labels by: `given`, if they are, else what was `found`.

    Raises:
        ValueError: If there is one class only, or a class that is not among those given.
    """
    found = in_order(found)
    if given is not None:
        for name in found:
            if name not in given:
                hint = did_you_mean(name, given, 1, 0.6)
                raise ValueError(f"{where} has the class '{name}', and the classes are {some(given)}.{hint}")
        return tuple(given)
    if len(found) < 2:
        raise ValueError(
            f"{where} has one class only, {some(found)}: there is nothing to tell apart. Give two or more."
        )
    return found


def check_skipped(skipped: Sequence[tuple[str, str]], number: int, where: str) -> None:
    """Checks that few enough were skipped, at most a tenth of all.

    Raises:
        ValueError: If it is more.
    """
    if len(skipped) > max(1, MOST_SKIPPED * number):
        raise ValueError(
            f"{len(skipped):,} of {number:,} in {where} cannot be read, more than {MOST_SKIPPED:.0%}: "
            f"{some([f'{name} ({reason})' for name, reason in skipped])}. Remove or replace them."
        )


def some(names: Collection[str]) -> str:
    """The first few of `names`, and how many there are."""
    listed = [str(name) for name in names]
    if len(listed) <= MOST_NAMED:
        return ", ".join(listed) or "none"
    return f"{', '.join(listed[:MOST_NAMED])}, ... ({len(listed):,} in all)"
