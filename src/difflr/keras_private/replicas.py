"""Replicas of `tf.distribute`: gradients are summed before anything else.

Keras 3 clips and accumulates gradients in each replica and sums them afterwards, so a global norm is not global (Keras 2
summed first). Its conditions for accumulation and averages are inside the replicas, where TensorFlow allows no
communication between replicas in a branch (keras-team/keras #20582). Here gradients are summed first, once per step, and
the conditions are evaluated across replicas, in a `merge_call`. (Compiled by XLA for several GPUs there is no
`merge_call`, and conditions inside replicas work.)
"""

import keras

from difflr.keras_private.optimizers import ACCUMULATORS, position


class ReplicaHooks:
    """The hooks for replicas."""

    def _backend_apply_gradients(self, grads, trainable_variables):
        if _is_one_of_several_replicas():
            self._apply_in_replica(grads, trainable_variables)
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _all_reduce_sum_gradients(self, grads_and_vars):
        return grads_and_vars if _is_one_of_several_replicas() else super()._all_reduce_sum_gradients(grads_and_vars)

    def _apply_in_replica(self, grads, trainable_variables):
        import tensorflow as tf

        pairs = super()._all_reduce_sum_gradients(list(zip(grads, trainable_variables, strict=True)))
        grads = [gradient for gradient, _ in pairs]
        conditional = self.gradient_accumulation_steps or (self.use_ema and self.ema_overwrite_frequency)
        if conditional and not tf.__internal__.distribute.strategy_supports_no_merge_call():
            context = tf.distribute.get_replica_context()
            context.merge_call(self._apply_above_replicas, args=(grads, trainable_variables))
        else:
            super()._backend_apply_gradients(grads, trainable_variables)

    def _apply_above_replicas(self, strategy, grads, trainable_variables):
        in_replicas, arguments = strategy.extended.call_for_each_replica, (grads, trainable_variables)

        def update():
            in_replicas(self._update_in_replica, args=arguments)

        def accumulate():
            in_replicas(self._accumulate_in_replica, args=arguments)

        def overwrite():
            self._overwrite_model_variables_with_average_value(self._trainable_variables)

        if self.gradient_accumulation_steps:
            calls = self._iterations + 1
            keras.ops.cond(calls % self.gradient_accumulation_steps == 0, update, accumulate)
        else:
            update()
        if self.use_ema:
            in_replicas(self._update_model_variables_moving_average, args=(self._trainable_variables,))
            if self.ema_overwrite_frequency:
                steps = self.iterations + 1
                keras.ops.cond(steps % self.ema_overwrite_frequency == 0, overwrite, lambda: None)

    def _accumulators_of(self, variables):
        return [getattr(self, ACCUMULATORS)[position(self, variable)] for variable in variables]

    def _update_in_replica(self, grads, trainable_variables):
        steps = self.gradient_accumulation_steps
        if steps:
            sums = self._accumulators_of(trainable_variables)
            grads = [(gradient + total) / steps for gradient, total in zip(grads, sums, strict=True)]
        # As in Keras's `_backend_apply_gradients`, without its conditions.
        grads = self._clip_gradients(grads)
        self._apply_weight_decay(trainable_variables)
        self._backend_update_step(grads, trainable_variables, self.learning_rate)
        if steps:
            self._backend_reset_gradient_accumulators()

    def _accumulate_in_replica(self, grads, trainable_variables):
        self._backend_increment_gradient_accumulators(grads, self._accumulators_of(trainable_variables))


def _is_one_of_several_replicas():
    """Whether this runs as one of the replicas of a strategy of `tf.distribute`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.distribute.in_cross_replica_context() and tf.distribute.get_strategy().num_replicas_in_sync > 1
