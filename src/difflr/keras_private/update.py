"""The places where a Keras optimizer uses its learning rate."""

import functools

import keras

from difflr.keras_private.optimizers import ACCUMULATORS, torch_values


class _Seen:
    """An optimizer seen with other attributes: everything else is the optimizer itself.

    Changing an attribute of the optimizer for the length of a call is not safe where replicas run in threads
    (`tf.distribute.MirroredStrategy`); a view is.
    """

    def __init__(self, optimizer, **attributes):
        vars(self).update(_optimizer=optimizer, **attributes)

    @property
    def __class__(self):  # `super()` inside the optimizer's own methods accepts the view
        return type(self._optimizer)

    def __getattr__(self, name):
        return getattr(self._optimizer, name)

    def _get_current_learning_rate(self):
        return self.learning_rate


def _is_one_of_several_replicas():
    """Whether this runs as one of the replicas of a strategy of `tf.distribute`, which meet in a `merge_call`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    if tf.__internal__.distribute.strategy_supports_no_merge_call() or tf.distribute.in_cross_replica_context():
        return False
    return tf.distribute.get_strategy().num_replicas_in_sync > 1


def scaled(rate, factors):
    """`rate` times each of `factors` (a dict); the Python number 1 costs nothing.

    TensorFlow compiles with XLA's fast-math, which would reassociate `rate * factor * gradient / ...` and so round a
    factor of 1 differently from no factor (seen in Adagrad and RMSprop). It cannot reach through the rounding of a
    product taken in float64. (One product of vectors is quicker in a graph, but XLA then compiles each update apart.)
    """
    products = {key: rate for key, factor in factors.items() if isinstance(factor, float) and factor == 1.0}
    others = {key: factor for key, factor in factors.items() if key not in products}
    if keras.backend.backend() != "tensorflow":
        return products | {key: rate * factor for key, factor in others.items()}
    rate = keras.ops.convert_to_tensor(rate)
    exact = keras.ops.cast(rate, "float64")
    for key, factor in others.items():
        products[key] = keras.ops.cast(exact * keras.ops.cast(factor, "float64"), rate.dtype)
    return products


@functools.cache
def torch_pass_of(optimizer_class):
    """The name of the Keras optimizer whose vectorised update and decay on torch `optimizer_class` has, or `None`.

    Our passes replace these two. What somebody else wrote is not replaced: it is called once for each group.
    """
    update = _first_with(optimizer_class, "_parallel_update_step")
    decay = _first_with(optimizer_class, "_apply_weight_decay")
    own = update is not None and update.__module__.startswith("keras.src.backend.torch.optimizers.")
    return update.__name__ if own and decay.__name__ == "TorchOptimizer" else None


@functools.cache
def _first_with(optimizer_class, name):
    """Which class below our hooks defines the method `name`."""
    return next((c for c in optimizer_class.__mro__ if name in vars(c) and c is not OptimizerHooks), None)


class _SparesEmptyLists(keras.optimizers.Optimizer):
    """Stands between a third-party optimizer and torch's weight decay, which fails for an empty list of variables.

    A decay that picks its variables hands one on as soon as it picks none of a group.
    """

    def _apply_weight_decay(self, variables):
        if len(variables):
            super()._apply_weight_decay(variables)


def bases_below(optimizer_class):
    """What a class derived from `optimizer_class` has to have as further bases on this backend."""
    decay = optimizer_class._apply_weight_decay
    own = not decay.__module__.startswith("keras.src.")
    return (_SparesEmptyLists,) if own and keras.backend.backend() == "torch" else ()


class OptimizerHooks:
    """The private places where Keras optimizers use their rate, led back to four questions about groups.

    A subclass answers them: the first four methods. The multiplier multiplies the rate, never the gradient: Adam would
    divide a scaled gradient by itself again.
    """

    def _rate_factors(self):
        """What the rate of each group is multiplied by at this step: group number -> factor."""
        raise NotImplementedError

    def _decay_factors(self):
        """The same for the weight decay, of the groups that decay."""
        raise NotImplementedError

    def _group_number(self, variable):
        """The number of the group of `variable`."""
        raise NotImplementedError

    def _places(self, variables):
        """Where the members of each group stand in `variables`: group number -> places."""
        raise NotImplementedError

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        # Once a step, not once a variable: on TensorFlow each product is an operation of the graph. Keras only hands
        # the rate on to `update_step`; whoever computes with it gets the base rate.
        if _first_with(type(self), "_backend_update_step").__name__ in ("BaseOptimizer", "TFOptimizer"):
            learning_rate = scaled(learning_rate, self._rate_factors())
        super()._backend_update_step(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        # JAX, TensorFlow, and torch optimizers without a vectorised version. TensorFlow hands over raw
        # `tf.Variable`s, so the variable is known by its index only.
        rates = learning_rate if isinstance(learning_rate, dict) else scaled(learning_rate, self._rate_factors())
        super().update_step(gradient, variable, rates[self._group_number(variable)])

    def _parallel_update_step(self, grads, variables, learning_rate):
        # torch's vectorised optimizers never call `update_step`; they take one rate for a list of variables.
        name = torch_pass_of(type(self))
        if name is not None:
            from difflr.optimizers import torch_passes

            torch_passes.run(name, self, variables, grads, learning_rate)
            return
        rates = scaled(learning_rate, self._rate_factors())
        for number, places in self._places(variables).items():
            super()._parallel_update_step([grads[i] for i in places], [variables[i] for i in places], rates[number])

    def _apply_weight_decay(self, variables):
        if not self.built:
            super()._apply_weight_decay(variables)
            return
        if torch_pass_of(type(self)) is not None:
            return  # the pass decays, too: one way through the memory less
        decay = super()._apply_weight_decay.__func__
        rates = scaled(self.learning_rate, self._decay_factors())
        for number, places in self._places(variables).items():
            if number in rates:
                # Keras's weight decay reads the rate from the optimizer.
                decay(_Seen(self, learning_rate=rates[number]), [variables[i] for i in places])

    def _backend_apply_gradients(self, grads, trainable_variables):
        if _is_one_of_several_replicas():
            self._apply_in_replica(grads, trainable_variables)
            return
        super()._backend_apply_gradients(grads, trainable_variables)
        if keras.backend.backend() == "torch":
            # Keras's `zero_grad` knows variables by path. Two towers with equal inner names have equal paths once the
            # model was loaded: the gradients of one of them would add up from step to step.
            for value in torch_values(trainable_variables):
                value.grad = None

    # Under `tf.distribute` Keras 3 clips and accumulates the gradients of each replica apart, and sums them when it has
    # done so: a global norm is then none (Keras 2 summed first). And its conditions, for the accumulation and for the
    # averages, are in the replicas, where TensorFlow lets none of their branches meet the other replicas
    # (keras-team/keras #20582). Here gradients are summed first, and the conditions are above the replicas.

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars if _is_one_of_several_replicas() else super()._all_reduce_sum_gradients(grads_and_vars)

    def _apply_in_replica(self, grads, trainable_variables):
        import tensorflow as tf

        pairs = super()._all_reduce_sum_gradients(list(zip(grads, trainable_variables, strict=True)))
        grads = [gradient for gradient, _ in pairs]
        if self.gradient_accumulation_steps or (self.use_ema and self.ema_overwrite_frequency):
            context = tf.distribute.get_replica_context()
            context.merge_call(self._apply_above_replicas, args=(grads, trainable_variables))
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _apply_above_replicas(self, strategy, grads, trainable_variables):
        each, arguments = strategy.extended.call_for_each_replica, (grads, trainable_variables)

        def update():
            each(self._update_in_replica, args=arguments)

        def accumulate():
            each(self._accumulate_in_replica, args=arguments)

        def overwrite():
            self._overwrite_model_variables_with_average_value(self._trainable_variables)

        if self.gradient_accumulation_steps:
            calls = self._iterations + 1
            keras.ops.cond(calls % self.gradient_accumulation_steps == 0, update, accumulate)
        else:
            update()
        if self.use_ema:
            each(self._update_model_variables_moving_average, args=(self._trainable_variables,))
            if self.ema_overwrite_frequency:
                steps = self.iterations + 1
                keras.ops.cond(steps % self.ema_overwrite_frequency == 0, overwrite, lambda: None)

    def _accumulators_of(self, variables):
        return [getattr(self, ACCUMULATORS)[self._variable_position(variable)] for variable in variables]

    def _update_in_replica(self, grads, trainable_variables):
        apply, steps = super()._backend_apply_gradients.__func__, self.gradient_accumulation_steps
        if steps:
            sums = self._accumulators_of(trainable_variables)
            grads = [(gradient + total) / steps for gradient, total in zip(grads, sums, strict=True)]
        apply(_Seen(self, gradient_accumulation_steps=None, use_ema=False), grads, trainable_variables)
        if steps:
            self._backend_reset_gradient_accumulators()

    def _accumulate_in_replica(self, grads, trainable_variables):
        self._backend_increment_gradient_accumulators(grads, self._accumulators_of(trainable_variables))

    def _variable_position(self, variable):
        """The position of `variable` in the list the optimizer was built with."""
        return self._get_variable_index(variable)


def bias_correction(optimizer):
    """`(beta_1, beta_2)` where the update is Keras's Adam, `(beta_1, None)` where it is Adamax, else `None`.

    These two multiply their rate by the correction of the bias, so that a factor on the rate can change it exactly.
    """
    for parent in type(optimizer).__mro__:
        if parent is OptimizerHooks or not {"update_step", "_parallel_update_step"} & set(vars(parent)):
            continue
        if parent.__module__.startswith("keras.src.") and issubclass(parent, keras.optimizers.Adam):
            return optimizer.beta_1, optimizer.beta_2
        if parent.__module__.startswith("keras.src.") and issubclass(parent, keras.optimizers.Adamax):
            return optimizer.beta_1, None
        return None
    return None
