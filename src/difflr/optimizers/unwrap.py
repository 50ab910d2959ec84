"""The optimizers inside a `LossScaleOptimizer` or a `MultiOptimizer`."""

import keras

from difflr import keras_private


def inner(optimizer: keras.optimizers.Optimizer | None) -> keras.optimizers.Optimizer | None:
    """The optimizer that a `LossScaleOptimizer` wraps, or itself.

    Args:
        optimizer: A Keras optimizer.
    """
    return getattr(optimizer, "inner_optimizer", optimizer)


def is_scaled(optimizer: keras.optimizers.Optimizer) -> bool:
    """Whether it is a `LossScaleOptimizer`.

    Args:
        optimizer: A Keras optimizer.
    """
    return inner(optimizer) is not optimizer


def rewrap(
    optimizer: keras.optimizers.LossScaleOptimizer, inner: keras.optimizers.Optimizer
) -> keras.optimizers.LossScaleOptimizer:
    """A `LossScaleOptimizer` with the settings of another one, around `inner`.

    Args:
        optimizer: The one with the settings.
        inner: The optimizer that updates the variables.
    """
    settings = {name: value for name, value in optimizer.get_config().items() if name != "inner_optimizer"}
    return type(optimizer)(inner, **settings)


def parts(optimizer: keras.optimizers.Optimizer) -> list[keras.optimizers.Optimizer]:
    """The optimizers that update variables: itself, or those inside a `LossScaleOptimizer` or a `MultiOptimizer`.

    Args:
        optimizer: A Keras optimizer.
    """
    unwrapped = inner(optimizer)
    return list(getattr(unwrapped, "optimizers", [unwrapped]))


def other_optimizers(model: keras.Layer) -> list[str]:
    """The attributes in which the code of a model, such as a GAN, keeps optimizers besides that of `compile`.

    Args:
        model: A model; `compile` gives one with optimizers of its own an unused RMSprop.
    """
    compiled = getattr(model, "optimizer", None)
    known = [] if compiled is None else [compiled, inner(compiled), *parts(compiled)]

    def has_other(value: object) -> bool:
        if isinstance(value, (dict, list, tuple)):
            return any(map(has_other, value.values() if isinstance(value, dict) else value))
        return isinstance(value, keras.optimizers.Optimizer) and all(value is not optimizer for optimizer in known)

    return [name for name, value in keras_private.attributes(model).items() if has_other(value)]


def base_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """The learning rate of one of the `parts` at this step.

    Args:
        optimizer: A Keras optimizer.
    """
    return float(keras.ops.convert_to_numpy(optimizer.learning_rate))


def effective_rates(optimizer: keras.optimizers.Optimizer) -> dict[int, float]:
    """The rate of every variable that a built optimizer trains, at this step: identity of the variable -> rate.

    On JAX `fit` keeps the state to itself between batches: call `model.jax_state_sync()` before.

    Args:
        optimizer: A built Keras optimizer.
    """
    rates: dict[int, float] = {}
    for part in parts(optimizer):
        base = base_rate(part)
        own = part.effective_rates() if hasattr(part, "effective_rates") else {}
        rates |= {id(variable): own.get(id(variable), base) for variable in keras_private.trained(part)}
    return rates
