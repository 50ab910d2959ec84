"""`Examples`: the training data as NumPy arrays, which trials split and repeat in a fixed order."""

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

Batch = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight), each an array or a structure of arrays
MAX_BATCHES = 2000


class Examples:
    """Examples in memory, by number.

    If the batches cannot be concatenated, because their shapes differ (such as texts padded per batch), an "example" is a
    batch.

    Args:
        batches: The batches of one pass.
        batch_size: Integer, the examples in a training step.

    Raises:
        ValueError: If there are no batches.
    """

    def __init__(self, batches: Sequence[Batch], batch_size: int):
        if not batches:
            raise ValueError("The data has no batches. Give at least one batch of examples.")
        shapes = [[array.shape[1:] for array in _arrays(batch)] for batch in batches]
        self.whole_batches = any(shape != shapes[0] for shape in shapes)
        self.batch_size = 1 if self.whole_batches else batch_size
        as_they_are = self.whole_batches or len(batches) == 1
        self._batches = batches if as_they_are else [_map(lambda *parts: np.concatenate(parts), *batches)]

    def __len__(self) -> int:
        return len(self._batches) if self.whole_batches else len(_arrays(self._batches[0])[0])

    @property
    def targets(self) -> Any:
        """All `y`; `None` if there is no `y`, or the batches cannot be concatenated."""
        return None if self.whole_batches or len(self._batches[0]) < 2 else self._batches[0][1]

    def at(self, numbers: np.ndarray) -> Batch:
        """These examples as a batch.

        Args:
            numbers: Integer array.
        """
        if self.whole_batches:
            return self._batches[int(numbers[0])]
        return _map(lambda array: array[numbers], self._batches[0])

    def steps(self, numbers: np.ndarray, num_steps: int, seed: int) -> "Steps":
        """The batches of `num_steps` training steps, in an order that depends only on the seed.

        Args:
            numbers: Integer array, the examples to train on.
            num_steps: Integer, the number of batches.
            seed: Integer, the seed of the order.
        """
        order: list[np.ndarray] = []
        epochs = itertools.count()
        while len(order) < num_steps:
            shuffled = np.random.default_rng([seed, next(epochs)]).permutation(numbers)
            order += [shuffled[start : start + self.batch_size] for start in range(0, len(shuffled), self.batch_size)]
        return Steps(self, order[:num_steps])


class Steps(keras.utils.PyDataset):
    """The batches of a trial, for `fit`.

    Args:
        examples: The examples.
        order: The numbers of the examples in each batch.
    """

    def __init__(self, examples: Examples, order: Sequence[np.ndarray]):
        super().__init__()
        self._examples, self._order = examples, order

    @property
    def num_batches(self) -> int:
        """The number of batches."""
        return len(self._order)

    def part(self, start: int, end: int) -> "Steps":
        """The batches from `start` up to, not including, `end`.

        Args:
            start: Integer, the first batch.
            end: Integer, the batch after the last.
        """
        return Steps(self._examples, self._order[start:end])

    def __getitem__(self, index: int) -> Batch:
        return self._examples.at(self._order[index])


def read_examples(
    x: object,
    y: object = None,
    sample_weight: object = None,
    *,
    batch_size: int | None = None,
    max_batches: int | None = None,
) -> Examples:
    """Reads the data of `fit` into memory: arrays, one pass over a dataset, or the next batches of a generator.

    Args:
        x: As in `fit`.
        y: As in `fit`, for arrays.
        sample_weight: As in `fit`, for arrays.
        batch_size: As in `fit`, for arrays.
        max_batches: Integer. The maximum number of batches to read from a dataset.

    Raises:
        ValueError: If there are no examples, or the arrays differ in length.
        TypeError: If `x` is not data, or yields anything but batches.
    """
    if is_dataset(x):
        most = max_batches or MAX_BATCHES
        read = list(itertools.islice(_batches(x, most), most))
        return Examples(read, max((len(_arrays(batch)[0]) for batch in read), default=1))
    size = 3 if sample_weight is not None else 2 if y is not None else 1
    batch = _map(_as_numpy, (x, y, sample_weight)[:size])
    lengths = {len(array) for array in _arrays(batch)}
    if len(lengths) != 1 or not max(lengths):
        raise ValueError(
            f"`x`, `y` and `sample_weight` must have the same length, at least 1. Received lengths: {sorted(lengths)}."
        )
    return Examples([batch], batch_size or 32)


def is_dataset(x: object) -> bool:
    """Whether `x` yields batches, rather than being arrays.

    Args:
        x: The `x` of `fit`.
    """
    if isinstance(x, keras.utils.PyDataset):
        return True
    arrays = hasattr(x, "shape") or isinstance(x, (list, tuple, dict))
    return not arrays and (hasattr(x, "__iter__") or hasattr(x, "__getitem__"))


def num_batches(
    data: Any, batch_size: int | None = None, validation_split: float = 0.0, steps_per_epoch: int | None = None
) -> int:
    """The number of batches in an epoch of `fit`, which schedules need before training.

    Args:
        data: The `x` of `fit`.
        batch_size: As in `fit`, for arrays; 32 if it is not given.
        validation_split: As in `fit`, for arrays.
        steps_per_epoch: As in `fit`; if it is given it is the answer.

    Raises:
        ValueError: If it cannot be known: the data does not say, and `steps_per_epoch` is not given.
    """
    if steps_per_epoch is not None:
        return steps_per_epoch
    of_numbers = isinstance(data, (list, tuple)) and not all(hasattr(array, "shape") for array in _arrays(data))
    if of_numbers or isinstance(data, (str, bytes)):
        fix = "a list of numbers: np.array(x)" if of_numbers else "files: see difflr.data"
        raise TypeError(f"`x` must be arrays or a data set, as in `fit`. Received {fix}.")
    try:
        if isinstance(data, keras.utils.PyDataset):
            number = data.num_batches
        elif is_dataset(data):
            number = len(data)
        else:
            number = math.ceil(math.floor(len(_arrays(data)[0]) * (1 - validation_split)) / (batch_size or 32))
    except (TypeError, IndexError):  # a generator, or a tf.data.Dataset of unknown or infinite length
        number = None
    if number is None:
        raise ValueError(
            "How many batches an epoch has must be known beforehand, for the schedule, and the data does not say: "
            f"{type(data).__name__} without a length. Give `steps_per_epoch`."
        )
    if number < 1:
        raise ValueError(f"The data has no batches. Received: {type(data).__name__} with {number} batches.")
    return int(number)


def _batches(x: Any, most: int) -> Iterable[Batch]:
    items: Iterable[Any] = x
    if isinstance(x, keras.utils.PyDataset):  # spread over all of it, because it may be sorted
        number = x.num_batches or most
        items = map(x.__getitem__, np.unique(np.linspace(0, number - 1, min(number, most)).astype(int)).tolist())
    for item in items:
        batch = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(batch) <= 3:
            raise TypeError(
                f"Expected batches (x, y) or (x, y, sample_weight). Received a batch of {len(batch)} parts."
            )
        yield _map(_as_numpy, batch)


def _as_numpy(value: object) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
    return array.astype("float32") if array.dtype == "float64" else np.asarray(array)


def _map(function: Any, *batches: Batch) -> Batch:
    """A batch of the function's values; a part that is `None` stays `None`."""
    return tuple(
        None if parts[0] is None else keras.tree.map_structure(function, *parts) for parts in zip(*batches, strict=True)
    )


def _arrays(data: Any) -> list[Any]:
    return [array for array in keras.tree.flatten(data) if array is not None]
