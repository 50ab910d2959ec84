"""The first batch of any data that `fit` takes, without consuming it."""

from typing import Any

import keras
import numpy as np


def first_batch(data: object, batch_size: int = 32) -> tuple[Any, ...]:
    """The first batch: `(x,)`, `(x, y)` or `(x, y, sample_weight)`, as NumPy arrays.

    Args:
        data: A tuple of arrays; a `keras.utils.PyDataset`, a `tf.data.Dataset`, a torch `DataLoader` or whatever else
            can be iterated again and yields such tuples.
        batch_size: How many samples to take from arrays.

    Raises:
        TypeError: If it is none of these, or an iterator, which would be consumed.
    """
    of_batches = isinstance(data, list) and len(data) and isinstance(data[0], (tuple, list))
    if isinstance(data, (tuple, list)) and 1 <= len(data) <= 3 and not of_batches:
        return tuple(
            part if part is None else keras.tree.map_structure(lambda a: np.asarray(a)[:batch_size], part)
            for part in data
        )
    if isinstance(data, keras.utils.PyDataset):
        batch = data[0]
    elif hasattr(data, "__iter__") and not hasattr(data, "__next__"):
        batch = next(iter(data), None)
    else:
        raise TypeError(
            "Expected a batch (x, y), arrays, or a dataset that can be iterated again. "
            f"Received: {type(data).__name__}"
            + (", an iterator, which would lose a batch: pass `next(data)`." if hasattr(data, "__next__") else ".")
        )
    if not isinstance(batch, (tuple, list)) or not 1 <= len(batch) <= 3:
        raise TypeError(f"Expected batches (x, y) or (x, y, sample_weight). Received: {type(batch).__name__}.")
    return tuple(part if part is None else keras.tree.map_structure(np.asarray, part) for part in batch)
