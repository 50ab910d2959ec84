"""`Examples`: the training data as NumPy arrays, which trials split and repeat in a fixed order."""

import itertools
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
        joined = batches[0] if len(batches) == 1 else _joined(batches)
        self.whole_batches = joined is None
        self._batches = batches
        self._data: Batch = batches[0] if joined is None else joined
        self.batch_size = 1 if joined is None else batch_size

    def __len__(self) -> int:
        return len(self._batches) if self.whole_batches else _length(self._data)

    @property
    def targets(self) -> Any:
        """All `y`; `None` if there is no `y`, or the batches cannot be concatenated."""
        return None if self.whole_batches or len(self._data) < 2 else self._data[1]

    def at(self, numbers: np.ndarray) -> Batch:
        """These examples as a batch.

        Args:
            numbers: Integer array.
        """
        if self.whole_batches:
            return self._batches[int(numbers[0])]
        return tuple(
            None if part is None else keras.tree.map_structure(lambda a: a[numbers], part) for part in self._data
        )

    def steps(self, numbers: np.ndarray, num_steps: int, seed: int) -> "Steps":
        """The batches of `num_steps` training steps, in an order that depends only on the seed.

        Args:
            numbers: Integer array, the examples to train on.
            num_steps: Integer, the number of batches.
            seed: Integer, the seed of the order.
        """
        size, order = self.batch_size, []
        for epoch in itertools.count():
            shuffled = np.random.default_rng([seed, epoch]).permutation(numbers)
            order += [shuffled[start : start + size] for start in range(0, len(shuffled), size)]
            if len(order) >= num_steps:
                return Steps(self, order[:num_steps])
        raise AssertionError("unreachable")


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
    if not is_dataset(x):
        size = batch_size or 32
        parts = (
            [x] if y is None and sample_weight is None else [x, y] if sample_weight is None else [x, y, sample_weight]
        )
        batch = tuple(None if part is None else keras.tree.map_structure(_as_numpy, part) for part in parts)
        lengths = {len(array) for array in keras.tree.flatten(batch) if array is not None}
        if len(lengths) != 1 or not max(lengths):
            raise ValueError(
                f"`x`, `y` and `sample_weight` must have the same length, at least 1. Received lengths: {sorted(lengths)}."
            )
        return Examples([batch], size)
    most = max_batches or MAX_BATCHES
    read = list(itertools.islice(_batches(x, most), most))
    sizes = [_length(batch) for batch in read]
    return Examples(read, max(sizes, default=1))


def is_dataset(x: object) -> bool:
    """Whether `x` yields batches, rather than being arrays.

    Args:
        x: The `x` of `fit`.
    """
    if isinstance(x, keras.utils.PyDataset):
        return True
    arrays = hasattr(x, "shape") or isinstance(x, (list, tuple, dict))
    return not arrays and (hasattr(x, "__iter__") or hasattr(x, "__getitem__"))


def _batches(x: Any, most: int) -> Iterable[Batch]:
    if isinstance(x, keras.utils.PyDataset):  # spread over all of it, because it may be sorted
        number = x.num_batches or most
        indices = np.unique(np.linspace(0, number - 1, min(number, most)).astype(int))
        items: Iterable[Any] = map(x.__getitem__, indices.tolist())
    else:
        items = x
    for item in items:
        batch = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(batch) <= 3:
            raise TypeError(
                f"Expected batches (x, y) or (x, y, sample_weight). Received a batch of {len(batch)} parts."
            )
        yield tuple(None if part is None else keras.tree.map_structure(_as_numpy, part) for part in batch)


def _as_numpy(value: object) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
    return array.astype("float32") if array.dtype == "float64" else np.asarray(array)


def _length(batch: Batch) -> int:
    return len(keras.tree.flatten(batch)[0])


def _joined(batches: Sequence[Batch]) -> Batch | None:
    """All batches concatenated; `None` if their shapes differ in more than the first dimension."""
    first = [array.shape[1:] for array in keras.tree.flatten(batches[0])]
    if any([array.shape[1:] for array in keras.tree.flatten(batch)] != first for batch in batches):
        return None
    parts = zip(*batches, strict=True)
    return tuple(
        None if part[0] is None else keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *part)
        for part in parts
    )
