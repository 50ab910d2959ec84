"""`Batches` and `EpochSeeds`: all that is random in an epoch depends on a seed and the epoch's number alone.

So a run that is interrupted and resumed at the beginning of an epoch continues exactly as it would have.
"""

import concurrent.futures
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.data.image_files import ImageFiles
from difflr.signatures import check_keywords
from difflr.text_table import counted

AHEAD = 3
Batch = tuple[np.ndarray, np.ndarray]


class Batches(keras.utils.PyDataset):
    """Arrays in batches for `fit`, in an order that depends on the seed and the epoch alone.

    Keras shuffles arrays by a random state that is in no checkpoint, so a resumed `fit` sees other batches. The workers of
    `keras.utils.PyDataset` pass batches that they prepared in one epoch to the next.

    Attributes:
        seconds_waited: The time that training waited for batches prepared ahead.

    Args:
        x: Array, `(num_examples, ...)`, or `difflr.data.ImageFiles`.
        y: Array, `(num_examples, ...)`.
        batch_size: Integer. The last batch may be smaller.
        seed: Integer; `None` keeps the order of the examples.
        prepare: A function of a batch of `x`, such as one that scales images.
        ahead: Integer, the number of batches that threads prepare ahead. By default 3 for a `ImageFiles`, else 0.

    Raises:
        ValueError: If the lengths differ or are 0, or `batch_size` is not positive.

    Example:

    ```python
    batches = difflr.data.Batches(x, y, batch_size=8, seed=0)
    model.compile(difflr.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    model.fit(batches, epochs=2, callbacks=[difflr.data.EpochSeeds(0, batches)], verbose=0)
    ```
    """

    def __init__(
        self,
        x: np.ndarray | ImageFiles,
        y: np.ndarray,
        batch_size: int = 32,
        *,
        seed: int | None = None,
        prepare: Callable[[np.ndarray], np.ndarray] | None = None,
        ahead: int | None = None,
        **kwargs: Any,
    ):
        check_keywords("Batches", kwargs, Batches, keras.utils.PyDataset)
        super().__init__(**kwargs)
        if len(x) != len(y) or not len(x):
            raise ValueError(
                f"`x` and `y` must have one length, above 0. Received: {len(x)} and {counted(len(y), 'example')}."
            )
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be 1 or more. Received: {batch_size!r}.")
        self._x, self._y, self._batch_size, self._seed = x, y, batch_size, seed
        self._prepare = prepare or (lambda batch: batch)
        self._ahead = (AHEAD if isinstance(x, ImageFiles) else 0) if ahead is None else ahead
        self._made: dict[int, concurrent.futures.Future[Batch]] = {}
        self._lock = threading.Lock()  # TensorFlow asks from threads of its own
        self._makers = concurrent.futures.ThreadPoolExecutor(2, "difflr-batches") if self._ahead else None
        self.seconds_waited = 0.0
        self._epoch: int | None = None
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Sets the order of the examples to that of an epoch, counted from 0."""
        if epoch == self._epoch:
            return
        number = len(self._x)
        order = np.arange(number) if self._seed is None else _random(self._seed, epoch).permutation(number)
        with self._lock:
            self._epoch, self._order = epoch, order
            for future in self._made.values():
                future.cancel()
            self._made = {}

    @property
    def num_batches(self) -> int:
        """The number of batches in an epoch."""
        return math.ceil(len(self._x) / self._batch_size)

    def __getitem__(self, index: int) -> Batch:
        if self._makers is None:
            return self._make(index, self._order)
        with self._lock:
            for number in range(index, min(index + 1 + self._ahead, self.num_batches)):
                if number not in self._made:
                    self._made[number] = self._makers.submit(self._make, number, self._order)
            wanted = self._made[index]
            self._made = {number: future for number, future in self._made.items() if number > index}
        start = time.perf_counter()
        batch = wanted.result()
        self.seconds_waited += time.perf_counter() - start
        return batch

    def _make(self, index: int, order: np.ndarray) -> Batch:
        chosen = order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._prepare(self._x[chosen]), self._y[chosen]


class EpochSeeds(keras.callbacks.Callback):
    """Sets the order of the batches and all seeds at the beginning of each epoch, also those of layers such as `Dropout`.

    With this callback and `difflr.BackupAndRestore`, an interrupted and resumed run ends with the same weights, bit for
    bit, as an uninterrupted one.

    Args:
        seed: Integer.
        batches: The `Batches` in training, if they have a seed.

    Example: see `difflr.data.Batches`.
    """

    def __init__(self, seed: int, batches: Batches | None = None):
        super().__init__()
        self._seed, self._batches = seed, batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets the order and the seeds for `epoch`."""
        if self._batches is not None:
            self._batches.set_epoch(epoch)
        random = _random(self._seed, epoch)
        keras_private.set_random_seed(int(random.integers(0, 2**31)))  # torch's own dropout has no seed of its own
        for state in _seed_states(self.model):
            state.assign(random.integers(0, 2**31, state.shape).astype(keras.backend.standardize_dtype(state.dtype)))


def _random(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    """The states of the model's seed generators."""
    return [each for each in model.variables if each.path.endswith("seed_generator_state")]
