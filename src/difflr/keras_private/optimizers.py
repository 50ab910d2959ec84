"""Optimizers: their classes, their settings, and the names of their state."""

import contextvars
import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras.src.backend.common import stateless_scope
from keras.src.backend.common.stateless_scope import get_stateless_scope, in_stateless_scope
from keras.src.backend.common.variables import get_autocast_scope


def decays(optimizer, variable) -> bool:
    """Whether `exclude_from_weight_decay` does not name `variable`, for an optimizer that is not built yet.

    Up to Keras 3.15 `_use_weight_decay` works at any time, since 3.16 only once the optimizer is built.
    """
    excluded = getattr(optimizer, "_is_excluded_from_weight_decay", None)
    return optimizer._use_weight_decay(variable) if excluded is None else not excluded(variable)


@functools.cache
def settings_of(optimizer_class):
    """The arguments of the constructors of a class and its parents, always in the same order."""
    constructors = [vars(parent)["__init__"] for parent in optimizer_class.__mro__[:-1] if "__init__" in vars(parent)]
    return tuple(dict.fromkeys(n for constructor in constructors for n in inspect.signature(constructor).parameters))


def fast_class(optimizer_class: type) -> type:
    """The class that instances of `optimizer_class` really have on this backend.

    On torch, `TorchOptimizer.__new__` replaces exact classes only (`keras.optimizers.Adam`) with their vectorized
    versions: a subclass of `keras.optimizers.Adam` silently loses the fast path, a subclass of the result does not.
    """
    return type(optimizer_class.__new__(optimizer_class))


def public_class(optimizer_class: type) -> type:
    """The class of `keras.optimizers` behind a backend's version of it (torch: `torch_adam.Adam`), or itself."""
    for parent in optimizer_class.__mro__:
        if vars(keras.optimizers).get(parent.__name__) is parent:
            return parent
    return optimizer_class


# Whether SGD on torch rounds `rate * gradient` before it adds it, as it does since Keras 3.16.
SGD_SCALES_FIRST = tuple(map(int, keras.__version__.split(".")[:2])) >= (3, 16)


# Wrappers around several optimizers (since Keras 3.15).
MULTI_OPTIMIZERS = tuple(cls for cls in [getattr(keras.optimizers, "MultiOptimizer", None)] if cls is not None)


def optimizer_map(optimizer):
    """What a `MultiOptimizer` was made of, which its config has only as a copy without exclusions; else `optimizer`."""
    return optimizer._optimizer_map if isinstance(optimizer, MULTI_OPTIMIZERS) else optimizer


_in_build = contextvars.ContextVar("in_build", default=False)


def before_build(check: Callable[[keras.optimizers.Optimizer, Sequence[keras.Variable]], None]) -> None:
    """Call `check` before any Keras optimizer is built, but not for those inside a `MultiOptimizer`.

    A layer cannot know which optimizer will train it. Building comes before the first step on every backend, in `fit` and
    in custom loops.
    """

    def checked_first(build: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(build)
        def checked_build(optimizer: keras.optimizers.Optimizer, *args: Any, **kwargs: Any) -> None:
            if not _in_build.get() and not hasattr(optimizer, "replan"):  # a differential optimizer ignores nothing
                check(optimizer, next(iter([*args, *kwargs.values()])))
            token = _in_build.set(True)
            try:
                build(optimizer, *args, **kwargs)
            finally:
                _in_build.reset(token)

        return checked_build

    for cls in (keras.optimizers.Optimizer, *MULTI_OPTIMIZERS):
        cls.build = checked_first(cls.build)


def live_learning_rate(optimizer: keras.optimizers.Optimizer):
    """The schedule or callable given as `learning_rate`, or the current number as a float."""
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable):
        return float(str(keras.ops.convert_to_numpy(rate)))  # the shortest decimal: 0.01, not 0.0099999998
    return rate


def copy_weight_decay_exclusions(source, target) -> None:
    """Copies what `exclude_from_weight_decay` set, which is not in the config (Keras 3.15)."""
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if hasattr(source, name):
            setattr(target, name, getattr(source, name))


@functools.cache
def _torch_core():
    """The module of Keras's torch backend with `get_device`; `ops.core` since Keras 3.16."""
    try:
        return importlib.import_module("keras.src.backend.torch.ops.core")
    except ModuleNotFoundError:
        return importlib.import_module("keras.src.backend.torch.core")


def values(variables):
    """The tensors of Keras variables.

    On torch `Variable.value` looks up Keras's scopes and the device each time, which takes 4 microseconds: a third of a
    step with 150 small weights. Here they are looked up once.
    """
    if keras.backend.backend() != "torch":
        return [variable.value for variable in variables]
    if in_stateless_scope() or get_autocast_scope() is not None or str(_torch_core().get_device()) == "meta":
        return [variable.value for variable in variables]
    return [variable.value if variable._value is None else variable._value for variable in variables]


# The attributes with the state of Keras's vectorized optimizers, in the order of `state_of`.
_STATE = {
    "SGD": ("momentums",),
    "Adam": ("_momentums", "_velocities", "_velocity_hats"),
    "Adagrad": ("_accumulators",),
    "Adadelta": ("_accumulated_grads", "_accumulated_delta_vars"),
    "Adamax": ("_m", "_u"),
    "Lion": ("_momentums",),
    "Nadam": ("_momentums", "_velocities"),
    "RMSprop": ("_velocities", "_average_gradients", "_momentums"),
}


def state_of(optimizer, name):
    """The lists with the state of a built optimizer, as far as its settings need them.

    SGD: momenta. Adam, AdamW: momenta, velocities, their maxima (`amsgrad`). Adagrad: sums of squares. Adadelta: averages
    of squared gradients and squared steps. Adamax: momenta, norms. Lion: momenta. Nadam: momenta, velocities. RMSprop:
    velocities, average gradients (centered), momenta (with momentum).

    Args:
        optimizer: An optimizer with the update of Keras's optimizer `name`.
        name: One of these names.
    """
    lists = [getattr(optimizer, attribute, None) for attribute in _STATE[name]]
    return [values for values in lists if values]


def position(optimizer, variable):
    """The position of `variable`, on TensorFlow also a `tf.Variable`, in the list the optimizer was built with."""
    return optimizer._get_variable_index(variable)


def nadam_product(optimizer):
    """Nadam's product of momenta: one variable for the whole optimizer, updated in its collective update."""
    return optimizer._u_product


def is_away(variable):
    """Whether JAX's `fit` holds the value of `variable`, as it does between batches."""
    scope = get_stateless_scope() if in_stateless_scope() else None
    return variable._value is None and (scope is None or scope.get_current_value(variable) is None)


def is_traced():
    """Whether variables have the values of a `StatelessScope`, as in a compiled function of JAX."""
    return stateless_scope.in_stateless_scope()


# The state of `use_ema` and `gradient_accumulation_steps`, which has no public name.
AVERAGES = "_model_variables_moving_average"


ACCUMULATORS = "_accumulated_gradients"


# The names of the variables of an unbuilt optimizer.
ITERATION = "iteration"
LEARNING_RATE = "learning_rate"


def slots(optimizer, count):
    """The lists with the state of a built optimizer, by attribute; one entry for each of its `count` variables.

    Keras's optimizers look up a variable's state by position in such lists (`_momentums`, `_velocities`, ...). An entry
    may be `None`. Muon in Keras 3.12 has dictionaries by path instead.
    """
    own = {id(None), *map(id, optimizer.variables)}
    by_path = {name: value for name, value in vars(optimizer).items() if isinstance(value, dict)}
    listed = {name: [value.get(variable.path) for variable in trained(optimizer)] for name, value in by_path.items()}
    lists = {name: value for name, value in {**vars(optimizer), **listed}.items() if isinstance(value, list)}
    lists.pop("_variables", None)  # all of them
    return {
        name: value
        for name, value in lists.items()
        if len(value) == count and own.issuperset(map(id, value)) and any(item is not None for item in value)
    }


def factored_shape(optimizer, name, shape):
    """The shape of Adafactor's factor `name` for a variable, a scalar for vectors; `None` if it is not such a factor."""
    if not isinstance(optimizer, keras.optimizers.Adafactor) or name not in ("_r", "_c"):
        return None
    if len(shape) < 2:
        return ()
    return shape[:-1] if name == "_r" else (*shape[:-2], shape[-1])


def shared_state(optimizer, before_build):
    """The variables that `build` created for the optimizer as a whole, such as Nadam's `_u_product`."""
    known = set(map(id, before_build))
    return {
        name: value
        for name, value in vars(optimizer).items()
        if isinstance(value, keras.Variable) and id(value) not in known and any(value is v for v in optimizer.variables)
    }


def unbuild(optimizer, before_build):
    """Undoes `build`, but keeps the step counter and the learning rate.

    Keras builds an optimizer only once, and offers no public way to train other variables with it.
    """
    kept = set(map(id, before_build))
    for variable in optimizer.variables:
        if id(variable) not in kept:
            optimizer._untrack_variable(variable)
    optimizer._trainable_variables_indices = {}
    optimizer.built = False


def trained(optimizer):
    """The variables that an optimizer was built with (`optimizer.variables` is its state)."""
    return list(optimizer._trainable_variables) if optimizer.built else []


def clock(optimizer):
    """The step that Keras passes to schedules. It counts batches; `optimizer.iterations` counts updates.

    They differ with gradient accumulation.
    """
    return optimizer._iterations


def applications(optimizer):
    """How many gradients an optimizer has received; with accumulation, `optimizer.iterations` counts updates."""
    return int(keras.ops.convert_to_numpy(optimizer._iterations))


def set_applications(optimizer, number):
    """Sets the optimizer's step counter, in gradients."""
    optimizer._iterations.assign(number)


def clipped(optimizer, gradients):
    """The gradients, clipped as the optimizer clips them."""
    return optimizer._clip_gradients(gradients)


def copy_of(variable, value):
    """A copy of `variable` with another value and the same path, by which Muon chooses its update."""
    copy = keras.Variable(value, dtype=variable.dtype, name=variable.name)
    copy._path = variable.path
    copy.constraint = variable.constraint
    return copy
