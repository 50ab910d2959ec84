"""`differential`: the differential version of any Keras optimizer."""

import inspect
import threading
from typing import Any, TypeAlias, overload

import keras

from difflr import keras_private
from difflr.checks import did_you_mean, shown
from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.unwrap import rewrap
from difflr.signatures import joined_signature

OptimizerClass: TypeAlias = type[keras.optimizers.Optimizer]


@overload
def differential(optimizer: OptimizerClass) -> OptimizerClass: ...


@overload
def differential(optimizer: keras.optimizers.Optimizer | str | dict[str, Any]) -> keras.optimizers.Optimizer: ...


def differential(
    optimizer: OptimizerClass | keras.optimizers.Optimizer | str | dict[str, Any],
) -> OptimizerClass | keras.optimizers.Optimizer:
    """The differential version of any Keras optimizer: a class for a class, an instance for an unbuilt instance.

    Methods that the class overrides are called on every backend: `update_step` with the rate of its variable, and a weight
    decay of its own once per group, with the rate of the group as `self.learning_rate`. This also holds for subclasses of
    a difflr optimizer.

    Args:
        optimizer: A class derived from `keras.optimizers.Optimizer`, from Keras or elsewhere; an unbuilt instance; a name
            such as `"adam"`; or a serialized optimizer. A differential one is returned unchanged. In a
            `LossScaleOptimizer` the inner optimizer becomes differential.

    Returns:
        The class, which takes `multipliers`, `weight_decay_follows` and `fused` besides its own arguments; or a new instance
        with the same settings. To load a model saved with a class from outside Keras, first make that class
        differential.

    Raises:
        TypeError: If it is not a Keras optimizer.
        ValueError: If it is a built instance, a `MultiOptimizer` of stock optimizers, or Keras does not know the name.

    Example:

    ```python
    import keras
    import difflr

    AdamW = difflr.optimizers.differential(keras.optimizers.AdamW)
    optimizer = AdamW(1e-3, weight_decay=0.05, multipliers=0.5)
    optimizer = difflr.optimizers.differential(keras.optimizers.SGD(0.01, momentum=0.9))
    ```
    """
    if inspect.isclass(optimizer) and issubclass(optimizer, keras.optimizers.Optimizer):
        return _differential_class(optimizer)
    if isinstance(optimizer, (str, dict)):
        optimizer = _optimizer_of(optimizer)
    if isinstance(optimizer, DifferentialOptimizer):
        return optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "Expected a Keras optimizer, its class or its name. "
            f"Received: {optimizer!r} (of type {type(optimizer).__name__})."
        )
    if optimizer.built:
        raise ValueError(
            f"The optimizer '{optimizer.name}' is built already; its state belongs to a stock optimizer. "
            f"Make a new one: difflr.optimizers.{type(optimizer).__name__}(..., multipliers=...)."
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return rewrap(optimizer, differential(optimizer.inner_optimizer))
    if isinstance(optimizer, keras_private.MULTI_OPTIMIZERS):
        if all(isinstance(inner, DifferentialOptimizer) for inner in optimizer.optimizers):
            return optimizer
        raise ValueError(
            "A keras.optimizers.MultiOptimizer cannot be differential, but the optimizers in it can. Take them from "
            "difflr.optimizers, so that the multipliers that layers declare are not ignored."
        )
    config = {**optimizer.get_config(), "learning_rate": keras_private.live_learning_rate(optimizer)}
    result = _differential_class(type(optimizer)).from_config(config)
    keras_private.copy_weight_decay_exclusions(optimizer, result)
    return result


def _optimizer_of(saved: str | dict[str, Any]) -> keras.optimizers.Optimizer:
    """The optimizer with a name, or of a config."""
    name = saved if isinstance(saved, str) else saved.get("class_name")
    try:
        return keras.optimizers.get(saved)
    except (TypeError, ValueError) as error:
        known = {known.lower(): known for known in optimizer_classes()}
        hint = did_you_mean(str(name), known)
        raise type(error)(
            f"Keras has no optimizer {shown(name)}.{hint} Expected one of: {', '.join(known)}."
        ) from error


_CLASSES: dict[OptimizerClass, OptimizerClass] = {}
_LOCK = threading.Lock()  # two threads must not make two classes of one


def _differential_class(stock: OptimizerClass) -> OptimizerClass:
    if issubclass(stock, DifferentialOptimizer):
        return stock
    base = keras_private.fast_class(stock)
    with _LOCK:
        if base not in _CLASSES:
            _CLASSES[base] = _make_class(stock, base)
        return _CLASSES[base]


def _make_class(stock: OptimizerClass, base: OptimizerClass) -> OptimizerClass:
    """The differential version of a class.

    Args:
        stock: The class.
        base: The class of its instances, on torch the vectorized one.
    """
    in_keras = vars(keras.optimizers).get(base.__name__) is keras_private.public_class(base)
    package = "difflr" if in_keras else f"difflr.{base.__module__}"
    namespace = {
        "__module__": "difflr.optimizers",
        "__qualname__": base.__name__,
        "__doc__": _doc(stock),
        "__signature__": joined_signature(base, DifferentialOptimizer),
    }
    cls = type(base.__name__, (DifferentialOptimizer, *keras_private.bases(base)), namespace)
    return keras.saving.register_keras_serializable(package=package)(cls)


# The meaning of a multiplier if the update is not proportional to the rate, and other notes for users.
_NOTES = {
    "Adafactor": (
        "The multiplier scales the learning rate that Adafactor is given. With `relative_step=True` (the default) the "
        "step is the smaller of that rate and `1 / sqrt(step)`, relative to the size of the variable: the multiplier has "
        "an effect once `rate * multiplier` is the smaller of the two."
    ),
    "Ftrl": (
        "The multiplier scales the learning rate, which Ftrl uses inside its accumulators: the variable moves as with a "
        "stock Ftrl at that rate, which is not proportional to it. `l1` and `l2` regularization are not scaled."
    ),
    "Lamb": "Lamb scales each update by the norm of its variable; the multiplier is applied on top of that.",
    "Lion": "Every weight moves by the rate itself (the update is a sign): the multiplier is the ratio of the steps.",
    "Muon": (
        "The multiplier scales both of Muon's rates: the one of the orthogonalised update, and `adam_lr_ratio` times "
        "it for the variables that Muon updates with Adam."
    ),
    "ScheduleFreeAdamW": (
        "The multiplier scales the rate after the warm-up; the averaging is not changed. On TensorFlow call "
        "`optimizer.build(model.trainable_variables)` before `fit`: Keras (3.15) builds this optimizer inside the compiled "
        "step, where its copy of the weights is never made, so that the first step sets every weight to plus or minus the "
        "rate. The differential optimizer warns of it."
    ),
    "SGD": (
        "In Keras the rate is part of the momentum (`v = momentum * v - rate * multiplier * g`), as in the original "
        "request: momentum from before a change of the multiplier still has the old rate in it."
    ),
}


def _doc(stock: OptimizerClass) -> str:
    """The docstring: what it is, what a multiplier means, the arguments of both, and Keras's own text."""
    own = inspect.cleandoc(DifferentialOptimizer.__doc__ or "")
    note = _NOTES.get(stock.__name__, "The update is proportional to the rate: a multiplier is the ratio of the steps.")
    return (
        f"`{stock.__module__.split('.')[0]}` optimizer `{stock.__name__}` with a learning rate per variable.\n\n"
        f"{note}\n\n"
        f"{own.partition(chr(10))[2].strip()}\n\nEverything else is as in the optimizer itself:\n\n"
        f"{inspect.cleandoc(stock.__doc__ or '')}"
    )


def optimizer_classes() -> dict[str, OptimizerClass]:
    """The optimizers of `keras.optimizers`, by name: those that update variables themselves."""
    return {
        name: cls
        for name, cls in vars(keras.optimizers).items()
        if inspect.isclass(cls)
        and issubclass(cls, keras.optimizers.Optimizer)
        and cls is not keras.optimizers.Optimizer
        and name == cls.__name__
        and not issubclass(cls, (keras.optimizers.LossScaleOptimizer, *keras_private.MULTI_OPTIMIZERS))
    }
