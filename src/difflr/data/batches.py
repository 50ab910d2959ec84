"""`Batches` and `EpochSeeds`: all that is random in an epoch depends on a seed and the epoch's number alone.

So a run that is interrupted and taken up again at the beginning of an epoch goes on exactly as it would have.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np


class Batches(keras.utils.PyDataset):
    """Arrays in batches for `fit`, in an order that depends on the seed and the epoch alone.

    Keras shuffles arrays by a random state that no checkpoint holds, so that a resumed `fit` sees other batches.

    Args:
        x: Array, `(num_examples, ...)`.
        y: Array, `(num_examples, ...)`.
        batch_size: Integer. The last batch may be smaller.
        seed: Integer; `None`: the examples stay in their order.
        prepare: A function of a batch of `x`, such as one that scales pictures. `None`: nothing is done.

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
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int = 32,
        *,
        seed: int | None = None,
        prepare: Callable[[np.ndarray], np.ndarray] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if len(x) != len(y) or not len(x):
            raise ValueError(f"`x` and `y` must have one length, above 0. Received: {len(x)} and {len(y)} examples.")
        if batch_size < 1:
            raise ValueError(f"`batch_size` must be 1 or more. Received: {batch_size!r}.")
        self._x, self._y, self._batch_size, self._seed = x, y, batch_size, seed
        self._prepare = prepare or (lambda batch: batch)
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Puts the examples in the order of epoch number `epoch`, counted from 0."""
        number = len(self._x)
        self._order = np.arange(number) if self._seed is None else _random(self._seed, epoch).permutation(number)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch."""
        return math.ceil(len(self._x) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        return self._prepare(self._x[chosen]), self._y[chosen]


class EpochSeeds(keras.callbacks.Callback):
    """At the beginning of each epoch, sets the order of the batches and all random states, those of `Dropout` too.

    That is `keras.utils.set_random_seed`, and the seeds that layers keep.

    With it, and a backup of weights and optimizer by `keras.callbacks.BackupAndRestore`, a run that is taken up again
    ends bit for bit where it would have ended unbroken.

    Args:
        seed: Integer.
        batches: The `Batches` that are trained on, if they are to be shuffled.

    Example: see `difflr.data.Batches`.
    """

    def __init__(self, seed: int, batches: Batches | None = None):
        super().__init__()
        self._seed, self._batches = seed, batches

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Sets them for `epoch`."""
        if self._batches is not None:
            self._batches.set_epoch(epoch)
        random = _random(self._seed, epoch)
        keras.utils.set_random_seed(int(random.integers(0, 2**31)))  # torch's own dropout has no seed of its own
        for state in _seed_states(self.model):
            state.assign(random.integers(0, 2**31, state.shape).astype(keras.backend.standardize_dtype(state.dtype)))


def _random(seed: int, epoch: int) -> np.random.Generator:
    return np.random.default_rng([seed, epoch])


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    """The states of the model's seed generators."""
    return [each for each in model.variables if each.path.endswith("seed_generator_state")]
