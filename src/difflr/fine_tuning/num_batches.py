"""How many batches an epoch has, known before training: schedules need it."""

import math
from typing import Any

import keras


def num_batches(
    data: Any, batch_size: int | None = None, validation_split: float = 0.0, steps_per_epoch: int | None = None
) -> int:
    """The number of batches in an epoch of `fit`.

    Args:
        data: The `x` of `fit`: arrays (or lists or dicts of them), a `tf.data.Dataset`, a torch `DataLoader`, a
            `keras.utils.PyDataset`, or a generator.
        batch_size: As in `fit`, for arrays; 32 if it is not given.
        validation_split: As in `fit`, for arrays.
        steps_per_epoch: As in `fit`; if it is given it is the answer.

    Raises:
        ValueError: If it cannot be known: the data does not say, and `steps_per_epoch` is not given.
    """
    if steps_per_epoch is not None:
        return steps_per_epoch
    first = _first_array(data)
    if first is not None:
        number: Any = math.ceil(math.floor(len(first) * (1 - validation_split)) / (batch_size or 32))
    else:
        try:
            number = data.num_batches if isinstance(data, keras.utils.PyDataset) else len(data)
        except TypeError:  # a generator, or a tf.data.Dataset of unknown or infinite length
            number = None
    if number is None:
        raise ValueError(
            "How many batches an epoch has must be known beforehand, for the schedule, and the data does not say: "
            f"{type(data).__name__} without a length. Give `steps_per_epoch`."
        )
    if number < 1:
        raise ValueError(f"The data has no batches. Received: {type(data).__name__} with {number} batches.")
    return int(number)


def _first_array(data: Any) -> Any:
    """The first of the arrays in `data`, or `None` if it holds none."""
    while isinstance(data, (list, tuple, dict)) and len(data):
        data = next(iter(data.values())) if isinstance(data, dict) else data[0]
    return data if hasattr(data, "shape") and len(data.shape) else None
