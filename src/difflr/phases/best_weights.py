"""The weights and optimizer state of the best epoch of a phase, saved with the optimizer."""

import json

import keras
import numpy as np

from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.state_by_place import as_numpy

_WEIGHTS = "best weight"
_STATE = "best state"


def keep_best(model: keras.Model, optimizer: DifferentialOptimizer) -> None:
    """Keeps the weights of a model, and the optimizer state of its trainable variables.

    Args:
        model: The model.
        optimizer: Its optimizer.
    """
    weights = {f"{_WEIGHTS} {number}": np.array(value) for number, value in enumerate(model.get_weights())}
    state = {
        f"{_STATE} {json.dumps(key)}": as_numpy(variable)
        for key, variable in optimizer.state_entries().items()
        if key[0] is not None
    }
    optimizer.callback_arrays = {**weights, **state}


def restore_best(model: keras.Model, optimizer: DifferentialOptimizer) -> bool:
    """Restores what `keep_best` kept, and drops it.

    Args:
        model: The model.
        optimizer: Its optimizer.

    Returns:
        Whether there was anything to restore.
    """
    kept, optimizer.callback_arrays = optimizer.callback_arrays, {}
    weights = [kept[name] for number in range(len(model.weights)) if (name := f"{_WEIGHTS} {number}") in kept]
    if len(weights) != len(model.weights):
        return False
    model.set_weights(weights)
    for key, variable in optimizer.state_entries().items():
        value = kept.get(f"{_STATE} {json.dumps(key)}")
        if value is not None and value.shape == tuple(variable.shape):
            variable.assign(value)
    return True
