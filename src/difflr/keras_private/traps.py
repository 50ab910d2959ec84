"""Silent failures of Keras's optimizers: a warning for each, or a fix."""

import warnings
from typing import ClassVar

import keras

from difflr.keras_private.optimizers import AVERAGES, settings_of


class TrapHooks:
    """The hooks that warn where a Keras optimizer fails silently."""

    _is_compiled = False  # whether a compiled step holds the settings of this optimizer
    HOW_TO_SET: ClassVar[dict[str, str]] = {}  # what has no effect as an attribute -> what has

    def _backend_apply_gradients(self, grads, trainable_variables):
        self._is_compiled = self._is_compiled or _is_being_compiled(grads)
        super()._backend_apply_gradients(grads, trainable_variables)

    def build(self, variables):
        super().build(variables)
        # Since Keras 3.14.
        if isinstance(self, getattr(keras.optimizers, "ScheduleFreeAdamW", ())) and _is_graph():
            warnings.warn(
                f"{type(self).__name__} starts from a copy of the weights. On TensorFlow, Keras builds it inside the "
                "compiled step, where the copy is never made: the first step sets every weight to plus or minus the "
                "learning rate, whatever its value was. Build it before `fit`: "
                "`optimizer.build(model.trainable_variables)`.",
                stacklevel=3,
            )

    def __setattr__(self, name, value):
        if name in self.HOW_TO_SET and type(self).__module__ == "difflr.optimizers":  # a subclass may have its own
            raise AttributeError(
                f"`{name}` of {type(self).__name__} cannot be set: it would have no effect. {self.HOW_TO_SET[name]}"
            )
        # The learning rate and the multipliers are state of the compiled step; other settings are constants.
        before = vars(self).get(name, value)
        super().__setattr__(name, value)
        if self._is_compiled and name in settings_of(type(self)) and isinstance(value, _SETTING) and before != value:
            warnings.warn(
                f"`{name}` was set to {value!r}, and the compiled training step keeps {before!r}: on "
                f"{keras.backend.backend()} it is a constant of the step. To change it, compile the model again before the "
                "next `fit`: `model.compile(optimizer=model.optimizer, ...)`, which keeps the optimizer's state. "
                f"What a plan sets can change without that: difflr.Rule('*', hyperparameters={{'{name}': ...}}).",
                stacklevel=2,
            )

    def _overwrite_model_variables_with_average_value(self, trainable_variables):
        super()._overwrite_model_variables_with_average_value(trainable_variables)
        if keras.backend.backend() == "jax":
            # On JAX a weight and its average would share one array, and the next `fit`, which donates both to the compiled
            # step, would fail: "Attempt to donate the same buffer twice".
            for average in getattr(self, AVERAGES):
                if average is not None:
                    average.assign(keras.ops.copy(average))


_SETTING = (int, float, type(None))


def _is_graph():
    """Whether TensorFlow traces a graph."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.executing_eagerly()


def _is_being_compiled(tensors):
    """Whether this call is traced for compiling. Never on torch, where steps read settings each time."""
    if keras.backend.backend() != "jax":
        return _is_graph()
    import jax

    return any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)
