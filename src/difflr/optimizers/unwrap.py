"""What a compiled optimizer is made of, and the rate of every variable at this moment."""

from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers.differential_optimizer import DifferentialOptimizer


def parts(optimizer: Any) -> list[Any]:
    """The optimizers that update variables: itself, or those inside a `LossScaleOptimizer` or a `MultiOptimizer`.

    Args:
        optimizer: Any Keras optimizer.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return list(getattr(inner, "optimizers", [inner]))


def base_rate(optimizer: Any) -> float:
    """The learning rate of one of the `parts` at this step.

    Args:
        optimizer: A Keras optimizer.
    """
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def effective_rates(optimizer: Any) -> dict[int, float]:
    """The rate of every variable that a built optimizer trains, at this step: identity of the variable -> rate.

    On JAX `fit` keeps the state to itself between batches: call `model.jax_state_sync()` before.

    Args:
        optimizer: Any built Keras optimizer.
    """
    rates: dict[int, float] = {}
    for part in parts(optimizer):
        base = base_rate(part)
        if isinstance(part, DifferentialOptimizer) and part._groups is not None:
            factors = keras.ops.convert_to_numpy(part._groups.factors()).tolist()
            for position, variable in enumerate(part._groups.trainable):
                rates[id(variable)] = base * factors[part._groups.of(position)]
        else:
            rates.update({id(variable): base for variable in keras_private.trained(part)})
    return rates
