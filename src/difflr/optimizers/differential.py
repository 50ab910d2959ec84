"""Makes the differential version of any Keras optimizer."""

import inspect
import threading
from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers.differential_optimizer import DifferentialOptimizer


def differential(optimizer: Any) -> Any:
    """The differential version of any Keras optimizer: a class for a class, an instance for an unbuilt instance.

    Args:
        optimizer: A class derived from `keras.optimizers.Optimizer`, stock or third-party; an instance of one that
            is not built yet; or a name such as `"adam"`. A differential one is returned as it is. Around a
            `LossScaleOptimizer` the inner one is made differential.

    Returns:
        The class, which takes `multipliers`, `weight_decay_follows` and `fused` besides its own arguments; or a new instance
        with the same settings. A class from outside Keras has to be made differential in the process that
        loads a model saved with it, too.

    Raises:
        TypeError: If it is no Keras optimizer.
        ValueError: If it is an instance that is built already, or a `MultiOptimizer` of stock optimizers.

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
        optimizer = keras.optimizers.get(optimizer)
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
        config = {k: v for k, v in optimizer.get_config().items() if k != "inner_optimizer"}
        return keras.optimizers.LossScaleOptimizer(differential(optimizer.inner_optimizer), **config)
    if isinstance(optimizer, keras_private.MULTI_OPTIMIZERS):
        if all(isinstance(inner, DifferentialOptimizer) for inner in optimizer.optimizers):
            return optimizer
        raise ValueError(
            "A keras.optimizers.MultiOptimizer may hold differential optimizers, but is none itself. Make those it "
            "holds from difflr.optimizers, so that what the layers declare is not ignored."
        )
    config = {**optimizer.get_config(), "learning_rate": keras_private.live_learning_rate(optimizer)}
    result = _differential_class(type(optimizer)).from_config(config)
    keras_private.copy_weight_decay_exclusions(optimizer, result)
    return result


_CLASSES: dict[type, type] = {}
_LOCK = threading.Lock()  # two threads must not make two classes of one


def _differential_class(stock: type) -> type:
    if issubclass(stock, DifferentialOptimizer):
        return stock
    base = keras_private.fast_class(stock)
    with _LOCK:
        if base not in _CLASSES:
            _CLASSES[base] = _make_class(stock, base)
        return _CLASSES[base]


def _make_class(stock: type, base: type) -> type:
    in_keras = vars(keras.optimizers).get(base.__name__) is keras_private.public_class(base)
    package = "difflr" if in_keras else f"difflr.{base.__module__}"
    namespace = {
        "__module__": "difflr.optimizers",
        "__qualname__": base.__name__,
        "__doc__": _doc(stock),
        "__signature__": _signature(base),
    }
    cls = type(base.__name__, (DifferentialOptimizer, *keras_private.bases(base)), namespace)
    return keras.saving.register_keras_serializable(package=package)(cls)


def _signature(base: type) -> inspect.Signature:
    """The signature of `base` with the new arguments, keyword-only."""
    parameters = list(inspect.signature(base.__init__).parameters.values())[1:]
    own = [
        parameter
        for parameter in inspect.signature(DifferentialOptimizer.__init__).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    rest = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    return inspect.Signature([*(p for p in parameters if p not in rest), *own, *rest])


# What a multiplier means where the update is not proportional to the rate.
_NOTES = {
    "Adafactor": (
        "The multiplier scales the rate that Adafactor is given. With `relative_step=True` (the default) Adafactor "
        "takes the smaller of that rate and `1 / sqrt(step)`, in any case for the size relative to the variable's own: "
        "the multiplier shows as soon as `rate * multiplier` is the smaller of the two, and not before."
    ),
    "Ftrl": (
        "The multiplier scales Ftrl's rate, which stands inside its accumulators: the variable moves as with a stock "
        "Ftrl of that rate, which is not proportional to it. `l1` and `l2` regularisation are not scaled."
    ),
    "Lamb": "Lamb already scales each update by the norm of its variable; the multiplier comes on top of that ratio.",
    "Lion": "Every weight moves by the rate itself (the update is a sign), so the multiplier is its exact ratio.",
    "Muon": (
        "The multiplier scales both of Muon's rates: that of the orthogonalised update, and `adam_lr_ratio` times "
        "it for the variables that Muon leaves to Adam."
    ),
    "ScheduleFreeAdamW": "The multiplier scales the internal rate, after the warm-up; the averaging is not changed.",
    "SGD": (
        "Keras keeps the rate inside the momentum (`v = momentum * v - rate * multiplier * g`), as the original "
        "request does: after a change of the multiplier, old momentum still has the old rate in it."
    ),
}


def _doc(stock: type) -> str:
    own = inspect.cleandoc(DifferentialOptimizer.__doc__ or "")
    note = _NOTES.get(stock.__name__, "The update is proportional to the rate: a multiplier is the ratio of the steps.")
    return (
        f"`{stock.__module__.split('.')[0]}` optimizer `{stock.__name__}` with a learning rate per variable.\n\n"
        f"{note}\n\n"
        f"{own.split(chr(10), 1)[1].strip()}\n\nAll else is as in the optimizer itself:\n\n"
        f"{inspect.cleandoc(stock.__doc__ or '')}"
    )


def optimizer_classes() -> dict[str, type]:
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
