"""The hooks by which each group of variables gets its own learning rate inside a Keras optimizer.

The multiplier multiplies the rate, never the gradient: Adam would normalize a scaled gradient again.

Keras computes an update in steps, each a method that an optimizer may override:

    apply -> _backend_apply_gradients -> _clip_gradients
                                      -> _apply_weight_decay          reads `self.learning_rate`
                                      -> _backend_update_step         gets the rate as an argument
                                           -> update_step             once per variable (JAX, TensorFlow, torch)
                                           -> _parallel_update_step   once for all (torch's vectorized optimizers)

A differential optimizer wraps the Keras optimizer on both sides: `OptimizerHooks` is above it in the inheritance and
receives Keras's calls; `UpdateByGroup` is below it and passes the rate to `update_step`. Methods that a class in between
or a subclass overrides are called as in Keras, on every backend, with the rate of their variables.
"""

import functools
from typing import Any

import keras

from difflr.keras_private.optimizers import values
from difflr.keras_private.replicas import ReplicaHooks
from difflr.keras_private.traps import TrapHooks


def scaled(rate, factors):
    """`rate` times each of `factors`, a dict.

    On TensorFlow, XLA's fast-math would reassociate `rate * factor * gradient / ...`, so that a factor of 1 rounds
    differently from no factor (seen in Adagrad and RMSprop). A product computed in float64 prevents that. (One product of
    vectors is faster in a graph, but then XLA compiles each update separately.)
    """
    if keras.backend.backend() != "tensorflow":
        return {key: rate * factor for key, factor in factors.items()}
    rate = keras.ops.convert_to_tensor(rate)
    exact = keras.ops.cast(rate, "float64")
    return {
        key: keras.ops.cast(exact * keras.ops.cast(factor, "float64"), rate.dtype) for key, factor in factors.items()
    }


def _floored(rates, floors):
    """The rates, raised to their floors."""
    floors = {key: floor for key, floor in floors.items() if key in rates}
    return {**rates, **{key: keras.ops.maximum(rates[key], floor) for key, floor in floors.items()}}


# -- which class defines a method -------------------------------------------------------------------------------------


@functools.cache
def first_with(optimizer_class, *names):
    """The first class in the method resolution order, except the hooks, that defines one of the methods `names`."""
    others = (parent for parent in optimizer_class.__mro__ if not parent.__module__.startswith("difflr.keras_private."))
    return next(parent for parent in others if not vars(parent).keys().isdisjoint(names))


@functools.cache
def _updates_one_by_one(optimizer_class):
    """Whether a vectorized optimizer on torch has to update its variables one by one.

    Keras's vectorized update calls neither `update_step` nor `assign`, `assign_add` and `assign_sub`. If a class overrides
    one of these, its variables are updated one by one, so that the override is called.
    """
    replaced = ("update_step", "assign", "assign_add", "assign_sub")
    return "_parallel_update_step" not in vars(first_with(optimizer_class, "_parallel_update_step", *replaced))


@functools.cache
def vectorized_update(optimizer_class):
    """The name of the Keras optimizer whose vectorized update and decay `optimizer_class` uses on torch, or `None`.

    `None` for a class that overrides a part of it: its methods are called once per group instead.
    """
    if not issubclass(optimizer_class, _torch_parallel_optimizer()) or _updates_one_by_one(optimizer_class):
        return None
    parts = ("_backend_apply_gradients", "_apply_weight_decay", "_use_weight_decay", "_backend_update_step")
    update = first_with(optimizer_class, "_parallel_update_step")
    whole = all(is_in_keras(first_with(optimizer_class, name)) for name in parts)
    return update.__name__ if whole and is_in_keras(update) else None


def decays_by_itself(optimizer_class):
    """Whether an optimizer has a weight decay of its own, from a class outside Keras."""
    return not is_in_keras(first_with(optimizer_class, "_apply_weight_decay"))


def is_in_keras(optimizer_class):
    """Whether Keras itself defines a class."""
    return optimizer_class.__module__.startswith("keras.src.")


def _torch_parallel_optimizer():
    """The base class of torch's vectorized optimizers; an empty tuple on other backends."""
    if keras.backend.backend() != "torch":
        return ()
    from keras.src.backend.torch.optimizers.torch_parallel_optimizer import TorchParallelOptimizer

    return TorchParallelOptimizer


def bias_correction(optimizer, own=None):
    """`(beta_1, beta_2)` if the update is Keras's Adam, `(beta_1, None)` if it is Adamax, otherwise `None`.

    Both apply the bias correction to the rate, so a factor on the rate can change it exactly.

    Args:
        optimizer: An optimizer.
        own: The hyperparameters of a group, by name.
    """
    numbers = {**vars(optimizer), **(own or {})}
    update = first_with(type(optimizer), "update_step", "_parallel_update_step")
    if is_in_keras(update) and issubclass(update, keras.optimizers.Adam):
        return numbers["beta_1"], numbers["beta_2"]
    if is_in_keras(update) and issubclass(update, keras.optimizers.Adamax):
        return numbers["beta_1"], None
    return None


# -- the two halves ---------------------------------------------------------------------------------------------------


class UpdateByGroup(keras.optimizers.Optimizer):
    """The lower half of the hooks, between an optimizer and Keras's `Optimizer`.

    It is needed for Nadam, which advances a schedule of the whole optimizer in `_backend_update_step` and then passes the
    variables on: split into groups here, the schedule advances once per step.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        for optimizer, *arguments in self._group_updates(grads, trainable_variables, learning_rate):
            super(UpdateByGroup, optimizer)._backend_update_step(*arguments)

    def _apply_weight_decay(self, variables):
        if len(variables):  # a custom decay may select no variable of a group, and torch fails on an empty list
            super()._apply_weight_decay(variables)


def bases(optimizer_class):
    """The base classes of the differential version of `optimizer_class`, after the upper half of the hooks."""
    return (UpdateByGroup,) if optimizer_class is keras.optimizers.Optimizer else (optimizer_class, UpdateByGroup)


def _picked(items, places):
    return [items[place] for place in places]


def _once_a_group(decay):
    """Calls a method `_apply_weight_decay` once per group, with the rate of the group as `self.learning_rate`."""

    @functools.wraps(decay)
    def decay_by_group(self, variables):
        if not self.built or self._rate_of_group is not None:  # no groups yet, or called by the loop below
            decay(self, variables)
        elif self._vectorized_update() is None:  # otherwise the vectorized step applies the decay, too
            rates, own = self._rates(super(OptimizerHooks, self)._get_current_learning_rate(), for_decay=True), None
            for number, places in self._groups.members(variables).by_group.items():
                if number in rates:
                    own = self._groups.hyperparameters.by_group() if own is None else own
                    decay(self._with(own.get(number, {}), rates[number]), _picked(variables, places))

    decay_by_group.is_hooked = True
    return decay_by_group


def _hands_on(update):
    """Checks that a method `_backend_update_step` calls the hook that sets the rates of the groups."""

    @functools.wraps(update)
    def checked_update(self, grads, trainable_variables, learning_rate):
        before = self._updates
        update(self, grads, trainable_variables, learning_rate)
        if self._updates == before:
            raise NotImplementedError(
                f"{first_with(type(self), '_backend_update_step').__name__} updates the variables in "
                "`_backend_update_step`, where there is one rate for all, so multipliers have no effect. Update them in "
                "`update_step`, which gets the rate of its variable, or pass the gradients on: "
                "`super()._backend_update_step(grads, trainable_variables, learning_rate)`."
            )

    checked_update.is_hooked = True
    return checked_update


class OptimizerHooks(TrapHooks, ReplicaHooks):
    """The upper half of the hooks: the methods that Keras calls.

    They ask `_groups`, which a built optimizer has: `factors_by_group`, `floors`, `members`, `hyperparameters`.
    """

    VECTORIZED_STEPS: frozenset[str] = frozenset()  # the Keras optimizers that `_vectorized_step` supports

    _rate_of_group = None  # the rate of one group, in the copies that `_with` returns
    _updates = 0  # how often the rates of the groups were computed
    _groups: Any = None

    def _vectorized_step(self, name, grads, variables, learning_rate):
        """Decays and updates `variables` on torch like Keras's vectorized optimizer `name`, each at its own rate."""
        raise NotImplementedError

    def __init_subclass__(cls, **arguments):
        # These two methods of a subclass get the variables of all groups at once.
        super().__init_subclass__(**arguments)
        for name, hooked in (("_apply_weight_decay", _once_a_group), ("_backend_update_step", _hands_on)):
            method = getattr(cls, name)
            if not hasattr(method, "is_hooked"):
                setattr(cls, name, hooked(method))
        if issubclass(cls, keras.optimizers.Optimizer) and not issubclass(cls, UpdateByGroup):
            raise TypeError(
                f"{cls.__name__} derives from DifferentialOptimizer directly, so its variables would not get their own "
                "rates. Derive it from the Keras optimizer alone, and pass it to `difflr.optimizers.differential`."
            )

    # -- the rates ----------------------------------------------------------------------------------------------------

    def _rates(self, learning_rate, for_decay=False):
        """The rate of each group, computed once per step: on TensorFlow each product adds an operation to the graph.

        Args:
            learning_rate: The base rate.
            for_decay: Whether it is for the weight decay; then of the groups that decay.
        """
        self._updates += not for_decay
        factors = self._groups.factors_by_group(for_decay)
        return _floored(scaled(learning_rate, factors), self._groups.floors(for_decay))

    def _group_updates(self, grads, variables, learning_rate):
        """`(optimizer, gradients, variables, rate)` for each group, with the hyperparameters of the group."""
        rates, own = self._rates(learning_rate), self._groups.hyperparameters.by_group()
        for number, places in self._groups.members(variables).by_group.items():
            optimizer = self._with(own[number]) if own.get(number) else self
            yield optimizer, _picked(grads, places), _picked(variables, places), rates[number]

    def _with(self, hyperparameters, rate=None):
        """A copy of this optimizer with the same state but other hyperparameters and another learning rate.

        Keras reads them from the optimizer. Changing them temporarily would not be safe with replicas in threads
        (`tf.distribute.MirroredStrategy`).
        """
        other = object.__new__(type(self))  # calling the class would return torch's vectorized one
        vars(other).update(vars(self), _rate_of_group=rate)
        vars(other).update(hyperparameters)
        return other

    def _get_current_learning_rate(self):
        return super()._get_current_learning_rate() if self._rate_of_group is None else self._rate_of_group

    @_hands_on
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _vectorized_update(self):
        name = vectorized_update(type(self))
        return name if name in self.VECTORIZED_STEPS else None

    def _parallel_update_step(self, grads, variables, learning_rate):
        name = self._vectorized_update()
        if name is not None:
            self._updates += 1
            self._vectorized_step(name, grads, variables, learning_rate)
        elif _updates_one_by_one(type(self)):
            super(_torch_parallel_optimizer(), self)._backend_update_step(grads, variables, learning_rate)
        else:
            for optimizer, *arguments in self._group_updates(grads, variables, learning_rate):
                super(OptimizerHooks, optimizer)._parallel_update_step(*arguments)

    @_once_a_group
    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay(variables)

    def _clip_gradients(self, grads):
        return super()._clip_gradients(grads if self._groups is None else self._groups.hyperparameters.clipped(grads))

    def _backend_apply_gradients(self, grads, trainable_variables):
        if self._groups.hyperparameters.clips:
            self._groups.hyperparameters.begin(self._groups.members(trainable_variables).positions)
        super()._backend_apply_gradients(grads, trainable_variables)
        if keras.backend.backend() == "torch":
            # Keras's `zero_grad` identifies variables by path. In a loaded model, two towers with equal inner names have
            # equal paths, and the gradients of one of them would accumulate from step to step.
            for value in values(trainable_variables):
                value.grad = None
