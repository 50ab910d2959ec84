"""`Examples`: what `fit` was given, as NumPy arrays that trials can divide and repeat in one order."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

Batch = tuple[Any, ...]  # (x,), (x, y) or (x, y, sample_weight), each an array or a structure of arrays
MAX_BATCHES = 2000


class Examples:
    """Examples in memory, by number.

    Where batches cannot be joined, because texts of each were padded to a length of their own, an "example" is a batch.

    Args:
        batches: The batches of one pass.
        batch_size: Integer, the examples in a training step.

    Raises:
        ValueError: If there is none.
    """

    def __init__(self, batches: Sequence[Batch], batch_size: int):
        if not batches:
            raise ValueError("The data has no batches, so there is nothing to try rates on.")
        joined = batches[0] if len(batches) == 1 else _joined(batches)
        self.whole_batches = joined is None
        self._batches = batches
        self._data: Batch = batches[0] if joined is None else joined
        self.batch_size = 1 if joined is None else batch_size

    def __len__(self) -> int:
        return len(self._batches) if self.whole_batches else _length(self._data)

    @property
    def targets(self) -> Any:
        """All `y`; `None` where there is none, or batches cannot be joined."""
        return None if self.whole_batches or len(self._data) < 2 else self._data[1]

    def at(self, numbers: np.ndarray) -> Batch:
        """The batch of these examples.

        Args:
            numbers: Integer array.
        """
        if self.whole_batches:
            return self._batches[int(numbers[0])]
        return tuple(
            None if part is None else keras.tree.map_structure(lambda a: a[numbers], part) for part in self._data
        )

    def steps(self, numbers: np.ndarray, num_steps: int, seed: int) -> "Steps":
        """The batches of so many training steps over these examples, in an order that the seed alone decides.

        Args:
            numbers: Integer array, the examples to train on.
            num_steps: Integer.
            seed: Integer.
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
        """How many there are."""
        return len(self._order)

    def part(self, start: int, end: int) -> "Steps":
        """The batches from one to before another.

        Args:
            start: Integer.
            end: Integer.
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
    """Reads what `fit` takes: arrays, or one pass through a dataset, or the next batches of a generator.

    Args:
        x: As in `fit`.
        y: As in `fit`, for arrays.
        sample_weight: As in `fit`, for arrays.
        batch_size: As in `fit`, for arrays.
        max_batches: Integer. At most so many batches of a dataset are read.

    Raises:
        ValueError: If there are no examples, or arrays of other lengths.
        TypeError: If `x` is no data, or gives other things than batches.
    """
    if not is_dataset(x):
        size = batch_size or 32
        parts = (
            [x] if y is None and sample_weight is None else [x, y] if sample_weight is None else [x, y, sample_weight]
        )
        batch = tuple(None if part is None else keras.tree.map_structure(_as_numpy, part) for part in parts)
        lengths = {len(array) for array in keras.tree.flatten(batch) if array is not None}
        if len(lengths) != 1 or not max(lengths):
            raise ValueError(f"`x` and `y` must have one length, above 0. Received lengths: {sorted(lengths)}.")
        return Examples([batch], size)
    most = max_batches or MAX_BATCHES
    read = list(itertools.islice(_batches(x, most), most))
    sizes = [_length(batch) for batch in read]
    return Examples(read, max(sizes, default=1))


def is_dataset(x: object) -> bool:
    """Whether `x` gives batches, rather than being arrays.

    Args:
        x: What `fit` was given.
    """
    if isinstance(x, keras.utils.PyDataset):
        return True
    arrays = hasattr(x, "shape") or isinstance(x, (list, tuple, dict))
    return not arrays and (hasattr(x, "__iter__") or hasattr(x, "__getitem__"))


def _batches(x: Any, most: int) -> Iterable[Batch]:
    if isinstance(x, keras.utils.PyDataset):  # from everywhere: it may be sorted
        number = x.num_batches or most
        indices = np.unique(np.linspace(0, number - 1, min(number, most)).astype(int))
        items: Iterable[Any] = map(x.__getitem__, indices.tolist())
    else:
        items = x
    for item in items:
        batch = tuple(item) if isinstance(item, (tuple, list)) else (item,)
        if not 1 <= len(batch) <= 3:
            raise TypeError(f"Expected batches (x, y) or (x, y, sample_weight). Received one of {len(batch)} parts.")
        yield tuple(None if part is None else keras.tree.map_structure(_as_numpy, part) for part in batch)


def _as_numpy(value: object) -> np.ndarray:
    array = value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
    return array.astype("float32") if array.dtype == "float64" else np.asarray(array)


def _length(batch: Batch) -> int:
    return len(keras.tree.flatten(batch)[0])


def _joined(batches: Sequence[Batch]) -> Batch | None:
    """One batch of all; `None` where their shapes differ beyond their length."""
    first = [array.shape[1:] for array in keras.tree.flatten(batches[0])]
    if any([array.shape[1:] for array in keras.tree.flatten(batch)] != first for batch in batches):
        return None
    parts = zip(*batches, strict=True)
    return tuple(
        None if part[0] is None else keras.tree.map_structure(lambda *arrays: np.concatenate(arrays), *part)
        for part in parts
    )
