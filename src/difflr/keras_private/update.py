"""Where a Keras optimizer uses its learning rate: there each group of variables gets its own.

The multiplier multiplies the rate, never the gradient: Adam would divide a scaled gradient by itself again.

Keras computes an update in steps, each a method that an optimizer may replace (in brackets: where it is used):

    apply -> _backend_apply_gradients -> _clip_gradients
                                      -> _apply_weight_decay          reads `self.learning_rate`
                                      -> _backend_update_step         is handed the rate
                                           -> update_step             once a variable (JAX, TensorFlow, torch)
                                           -> _parallel_update_step   once for all (torch's vectorised optimizers)

A differential optimizer stands on both sides of the optimizer that it is made of: `OptimizerHooks` above it, where
Keras's calls come in, and `UpdateByGroup` below it, where the rate is handed to `update_step`. Whatever a class in
between, or a subclass of the whole, replaces is called as in Keras, on every backend, with the rate of its variables.
"""

import functools

import keras

from difflr.keras_private.optimizers import values
from difflr.keras_private.replicas import ReplicaHooks
from difflr.keras_private.traps import TrapHooks


def scaled(rate, factors):
    """`rate` times each of `factors`, a dict.

    TensorFlow compiles with XLA's fast-math, which would reassociate `rate * factor * gradient / ...` and so round a
    factor of 1 differently from no factor (seen in Adagrad and RMSprop). It cannot reach through the rounding of a
    product taken in float64. (One product of vectors is quicker in a graph, but XLA then compiles each update apart.)
    """
    if keras.backend.backend() != "tensorflow":
        return {key: rate * factor for key, factor in factors.items()}
    rate = keras.ops.convert_to_tensor(rate)
    exact = keras.ops.cast(rate, "float64")
    return {
        key: keras.ops.cast(exact * keras.ops.cast(factor, "float64"), rate.dtype) for key, factor in factors.items()
    }


def _floored(rates, floors):
    """The rates, those with a floor not below it."""
    floors = {key: floor for key, floor in floors.items() if key in rates}
    return {**rates, **{key: keras.ops.maximum(rates[key], floor) for key, floor in floors.items()}}


# -- which class defines a method -------------------------------------------------------------------------------------


@functools.cache
def first_with(optimizer_class, *names):
    """The first class in the order of inheritance that defines one of the methods `names`, our hooks left out."""
    others = (parent for parent in optimizer_class.__mro__ if not parent.__module__.startswith("difflr.keras_private."))
    return next(parent for parent in others if not vars(parent).keys().isdisjoint(names))


@functools.cache
def _updates_one_by_one(optimizer_class):
    """Whether a vectorised optimizer of torch has to update its variables one by one.

    Keras's vectorised update never calls `update_step`, nor `assign` and its kin. It stands for those of Keras; where a
    class above it replaces one of them, that class is asked, variable by variable.
    """
    replaced = ("update_step", "assign", "assign_add", "assign_sub")
    return "_parallel_update_step" not in vars(first_with(optimizer_class, "_parallel_update_step", *replaced))


@functools.cache
def vectorised_update(optimizer_class):
    """The name of the Keras optimizer whose vectorised update and decay on torch `optimizer_class` has, or `None`.

    A class that replaces a part of it has none: it is not passed over, but called once for each group.
    """
    if not issubclass(optimizer_class, _torch_parallel_optimizer()) or _updates_one_by_one(optimizer_class):
        return None
    parts = ("_backend_apply_gradients", "_apply_weight_decay", "_use_weight_decay", "_backend_update_step")
    update = first_with(optimizer_class, "_parallel_update_step")
    whole = all(is_in_keras(first_with(optimizer_class, name)) for name in parts)
    return update.__name__ if whole and is_in_keras(update) else None


def decays_by_itself(optimizer_class):
    """Whether the weight decay of an optimizer is that of a class from outside Keras."""
    return not is_in_keras(first_with(optimizer_class, "_apply_weight_decay"))


def is_in_keras(optimizer_class):
    """Whether Keras itself defines a class."""
    return optimizer_class.__module__.startswith("keras.src.")


def _torch_parallel_optimizer():
    """The parent of torch's vectorised optimizers; on other backends no class at all."""
    if keras.backend.backend() != "torch":
        return ()
    from keras.src.backend.torch.optimizers.torch_parallel_optimizer import TorchParallelOptimizer

    return TorchParallelOptimizer


def bias_correction(optimizer, own=None):
    """`(beta_1, beta_2)` where the update is Keras's Adam, `(beta_1, None)` where it is Adamax, else `None`.

    These two multiply their rate by the correction of the bias, so that a factor on the rate can change it exactly.

    Args:
        optimizer: An optimizer.
        own: What a group has in the place of its numbers, by name.
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
    """The lower half of the hooks, between an optimizer and Keras's own `Optimizer`.

    Nadam is the reason for a lower half: in `_backend_update_step` it advances a schedule of the whole optimizer and
    hands the variables on. Here that has happened, once a step.
    """

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        rates, own = self._rates(learning_rate), self._hyperparameters_now()
        for number, places in self._places(trainable_variables).items():
            optimizer = self._with(own[number]) if own.get(number) else self
            arguments = _picked(grads, places), _picked(trainable_variables, places), rates[number]
            super(UpdateByGroup, optimizer)._backend_update_step(*arguments)

    def _apply_weight_decay(self, variables):
        if len(variables):  # a decay that picks its variables may pick none of a group: torch fails for an empty list
            super()._apply_weight_decay(variables)


def bases(optimizer_class):
    """The bases of the differential version of `optimizer_class`, after the class with the upper half of the hooks."""
    return (UpdateByGroup,) if optimizer_class is keras.optimizers.Optimizer else (optimizer_class, UpdateByGroup)


def _picked(items, places):
    return [items[place] for place in places]


def _once_a_group(decay):
    """Has a method `_apply_weight_decay` called once for each group, by an optimizer with the rate of that group."""

    @functools.wraps(decay)
    def decay_by_group(self, variables):
        if not self.built or self._rate_of_group is not None:  # without groups; or called by the loop below
            decay(self, variables)
        elif self._vectorised_update() is None:  # else that step decays, too: one way through the memory less
            rates, own = self._decay_rates(super(OptimizerHooks, self)._get_current_learning_rate()), None
            for number, places in self._places(variables).items():
                if number in rates:
                    own = self._hyperparameters_now() if own is None else own
                    decay(self._with(own.get(number, {}), rates[number]), _picked(variables, places))

    decay_by_group.is_hooked = True
    return decay_by_group


def _hands_on(update):
    """Checks that a method `_backend_update_step` has come to where the rates of the groups are put in."""

    @functools.wraps(update)
    def checked_update(self, grads, trainable_variables, learning_rate):
        before = self._updates
        update(self, grads, trainable_variables, learning_rate)
        if self._updates == before:
            raise NotImplementedError(
                f"{first_with(type(self), '_backend_update_step').__name__} changes the variables in "
                "`_backend_update_step` by itself, where there is one rate for all, so that multipliers have no effect. Do "
                "it in `update_step`, which is called with the rate of its variable, or hand the gradients on: "
                "`super()._backend_update_step(grads, trainable_variables, learning_rate)`."
            )

    checked_update.is_hooked = True
    return checked_update


class OptimizerHooks(TrapHooks, ReplicaHooks):
    """The upper half of the hooks: what Keras calls, and the questions about groups that a subclass answers."""

    VECTORISED_STEPS: frozenset[str] = frozenset()  # the optimizers of Keras for which `_vectorised_step` has an answer

    _rate_of_group = None  # the rate in the place of the optimizer's own, in what `_with` returns
    _updates = 0  # how often the rates of the groups were put in

    def _rate_factors(self):
        """What the rate of each group is multiplied by at this step: group number -> factor."""
        raise NotImplementedError

    def _decay_factors(self):
        """The same for the weight decay, of the groups that decay."""
        raise NotImplementedError

    def _floors(self, for_decay):
        """Below which the rate of a group never is: group number -> rate, of the groups that have a floor."""
        return {}

    def _hyperparameters_now(self):
        """What the groups have in the place of the optimizer's own numbers at this step: group number -> name -> value."""
        return {}

    def _clipped_by_group(self, grads):
        """The gradients, those of groups with a norm of their own clipped by it."""
        return grads

    def _begin_update(self, variables):
        """Notes to which variables the gradients of this step belong."""

    def _places(self, variables):
        """Where the members of each group stand in `variables`: group number -> places."""
        raise NotImplementedError

    def _vectorised_step(self, name, grads, variables, learning_rate):
        """Decays and updates `variables` on torch as Keras's vectorised optimizer `name` does, each at its own rate."""
        raise NotImplementedError

    def __init_subclass__(cls, **arguments):
        # A subclass stands above the hooks. These two methods see the variables of all groups at once.
        super().__init_subclass__(**arguments)
        for name, hooked in (("_apply_weight_decay", _once_a_group), ("_backend_update_step", _hands_on)):
            method = getattr(cls, name)
            if not hasattr(method, "is_hooked"):
                setattr(cls, name, hooked(method))
        if issubclass(cls, keras.optimizers.Optimizer) and not issubclass(cls, UpdateByGroup):
            raise TypeError(
                f"{cls.__name__} has DifferentialOptimizer among its bases, but not what makes its variables train at their "
                "own rates. Derive it from the Keras optimizer alone, and pass it to `difflr.optimizers.differential`."
            )

    # -- the rates ----------------------------------------------------------------------------------------------------

    def _rates(self, learning_rate):
        """The rate of each group; computed once a step, for on TensorFlow each product is an operation of the graph."""
        self._updates += 1
        return _floored(scaled(learning_rate, self._rate_factors()), self._floors(for_decay=False))

    def _decay_rates(self, learning_rate):
        """What the weight decay of each group that decays is multiplied by."""
        return _floored(scaled(learning_rate, self._decay_factors()), self._floors(for_decay=True))

    def _with(self, hyperparameters, rate=None):
        """This optimizer with other hyperparameters and another learning rate: the same state, in an object of its own.

        Keras's update and its weight decay read them from the optimizer. To change them there for the length of a call is
        not safe where replicas run in threads (`tf.distribute.MirroredStrategy`), whose calls meet in one thread.
        """
        other = object.__new__(type(self))  # not by the class: torch's would be exchanged for the vectorised one
        vars(other).update(vars(self), _rate_of_group=rate)
        vars(other).update(hyperparameters)
        return other

    def _get_current_learning_rate(self):
        return super()._get_current_learning_rate() if self._rate_of_group is None else self._rate_of_group

    @_hands_on
    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def _vectorised_update(self):
        name = vectorised_update(type(self))
        return name if name in self.VECTORISED_STEPS else None

    def _parallel_update_step(self, grads, variables, learning_rate):
        name = self._vectorised_update()
        if name is not None:
            self._updates += 1
            self._vectorised_step(name, grads, variables, learning_rate)
        elif _updates_one_by_one(type(self)):
            super(_torch_parallel_optimizer(), self)._backend_update_step(grads, variables, learning_rate)
        else:
            rates, own = self._rates(learning_rate), self._hyperparameters_now()
            for number, places in self._places(variables).items():
                optimizer = self._with(own[number]) if own.get(number) else self
                arguments = _picked(grads, places), _picked(variables, places), rates[number]
                super(OptimizerHooks, optimizer)._parallel_update_step(*arguments)

    @_once_a_group
    def _apply_weight_decay(self, variables):
        super()._apply_weight_decay(variables)

    def _clip_gradients(self, grads):
        return super()._clip_gradients(self._clipped_by_group(grads))

    def _backend_apply_gradients(self, grads, trainable_variables):
        self._begin_update(trainable_variables)
        super()._backend_apply_gradients(grads, trainable_variables)
        if keras.backend.backend() == "torch":
            # Keras's `zero_grad` knows variables by path. Two towers with equal inner names have equal paths once the
            # model was loaded: the gradients of one of them would add up from step to step.
            for value in values(trainable_variables):
                value.grad = None
