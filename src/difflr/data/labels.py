"""`targets_of`: labels as they stand in a table, as numbers to train on."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from difflr.data.examples import known_classes, some, task_of
from difflr.data.rows import Value
from difflr.text_table import counted

TARGETS = ("labels", "several", "numbers")
BETWEEN = "|;,"  # labels of one example
PER_VALUE = 5  # Whole numbers that occur as often on the average are labels


class Targets(NamedTuple):
    """The targets: `y`, the names of the classes (none if `y` holds numbers), and notes for the user."""

    y: np.ndarray
    class_names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def task(self) -> str:
        """As of `Examples`."""
        return task_of(self.y, self.class_names)


def targets_of(
    values: Sequence[Value],
    columns: Sequence[str],
    where: str,
    targets: str | None = None,
    class_names: Sequence[str] | None = None,
) -> Targets:
    """Labels as numbers.

    Args:
        values: What stands in the rows: a text, a number, a list of labels; with several columns, a tuple of texts.
        columns: The columns with the labels.
        where: Where that is, for messages.
        targets: What the values are: `"labels"`, one for each example; `"several"`, any number for each example, as a list,
            as a text with one of `|`, `;` and `,` between them, or as a column of 0 and 1 for each label; or
            `"numbers"` to predict. `None`: what they look like.
        class_names: The classes to number labels by. By default those found.

    Raises:
        ValueError: If the values are not what `targets` says.
    """
    if targets is not None and targets not in TARGETS:
        raise ValueError(f"`targets` must be one of {', '.join(TARGETS)}. Received: {targets!r}.")
    known = "labels" if class_names and targets is None and len(columns) == 1 else targets
    if known == "labels" and any(isinstance(value, list) for value in values):
        known = "several"
    task, note = _looks_like(values, columns, where) if known is None else (known, None)
    notes = () if note is None else (note,)
    if task == "numbers":
        return Targets(_numbers(values, where), (), notes)
    if task == "several":
        return Targets(*_several(values, columns, where, class_names), notes)
    if len(columns) > 1:
        raise ValueError(
            f"{where} are several columns, and an example has one label: name one, or say --targets several."
        )
    texts = [str(value) for value in values]
    names = known_classes(texts, class_names, where)
    numbers = {name: number for number, name in enumerate(names)}
    return Targets(np.array([numbers[text] for text in texts], "int32"), names, notes)


def _looks_like(values: Sequence[Value], columns: Sequence[str], where: str) -> tuple[str, str | None]:
    """What the values are, and what should be said of it."""
    if any(isinstance(value, list) for value in values):
        return "several", None
    texts = [one for value in values for one in (value if isinstance(value, tuple) else (value,))]
    parts = [_number(one) for one in texts]
    numbers = [number for number in parts if number is not None]
    if len(numbers) < len(parts):
        commas = all(_number(str(one).replace(",", ".")) is not None for one in texts)
        return "labels", f"{where} has decimal commas: labels (for numbers, write 0.5)" if commas else None
    if len(columns) > 1:
        zeros_and_ones = set(numbers) <= {0.0, 1.0}
        return ("several", None) if zeros_and_ones else ("numbers", f"{where}: numbers to predict")
    if not all(number.is_integer() for number in numbers):
        return "numbers", f"{where} has fractions: numbers to predict (else say --targets labels)"
    number = len(set(numbers))
    leaves_none_out = min(numbers) in (0, 1) and max(numbers) - min(numbers) + 1 == number
    if leaves_none_out or len(numbers) >= PER_VALUE * number:
        return "labels", f"{where} has whole numbers, each several times: labels (for numbers, say --targets numbers)"
    return "numbers", f"{where} has whole numbers, most of them once: numbers to predict (else say --targets labels)"


def _number(value: Value) -> float | None:
    try:
        number = float(str(value))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _numbers(values: Sequence[Value], where: str) -> np.ndarray:
    rows = [value if isinstance(value, (tuple, list)) else (value,) for value in values]
    numbers = np.array([[_number(one) for one in row] for row in rows], "float32")
    wrong = [str(one) for row in rows for one in row if _number(one) is None]
    if wrong:
        are = f"{counted(len(wrong), 'value')} that {'is' if len(wrong) == 1 else 'are'}"
        raise ValueError(f"{where} has {are} no finite number: {some(wrong)}.")
    return numbers[:, 0] if numbers.shape[1] == 1 else numbers


def _several(
    values: Sequence[Value], columns: Sequence[str], where: str, class_names: Sequence[str] | None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """A column of 0 and 1 for each class."""
    if len(columns) > 1:
        y = _numbers(values, where)
        if not np.isin(y, (0, 1)).all():
            found = some(np.unique(y).tolist())
            raise ValueError(f"{where} must hold 0 and 1 alone, for several labels. Received: {found}.")
        return y, tuple(columns)
    texts = [value for value in values if isinstance(value, str)]
    between = next((mark for mark in BETWEEN if any(mark in text for text in texts)), BETWEEN[0])
    lists = [
        value if isinstance(value, list) else [one.strip() for one in str(value).split(between) if one.strip()]
        for value in values
    ]
    names = known_classes({name for labels in lists for name in labels}, class_names, where)
    numbers = {name: number for number, name in enumerate(names)}
    y = np.zeros((len(lists), len(names)), "float32")
    for row, labels in zip(y, lists, strict=True):
        row[[numbers[name] for name in labels]] = 1
    return y, names
