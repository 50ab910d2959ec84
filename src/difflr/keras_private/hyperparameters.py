"""The hyperparameters of an optimizer's update: which of them can differ between groups and change during training.

In Keras they are Python numbers, constants of the compiled step. Here a number that may change is a `Number`, which
Keras's formulas accept like a Python number.
"""

import keras
from keras.src.optimizers import base_optimizer

from difflr.keras_private.optimizers import settings_of
from difflr.keras_private.update import first_with, is_in_keras

DECAY, CLIPNORM = "weight_decay", "clipnorm"

# Arguments that are numbers but cannot differ between groups, and why.
_OF_ALL = {
    "global_clipnorm": "it is one norm over all variables; for a norm over a group there is `clipnorm`",
    "clipvalue": "Keras clips values before the groups are looked at",
    "ema_momentum": "the averages of all variables are updated at once",
    "ema_overwrite_frequency": "the averages of all variables are updated at once",
    "loss_scale_factor": "it belongs to the loss",
    "gradient_accumulation_steps": "all variables are updated at the same steps",
    "initial_accumulator_value": "it is read only once, when the optimizer is built",
    "ns_steps": "it is a number of iterations, which the compiled step has written out",
}


def hyperparameters(optimizer):
    """The hyperparameters that can differ between groups: name -> the optimizer's own value."""
    found = {name: vars(optimizer).get(name) for name in (DECAY, CLIPNORM)}
    for name in settings_of(type(optimizer)):
        value = vars(optimizer).get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = value
    return {name: value for name, value in found.items() if not why_not(optimizer, name)}


def why_not(optimizer, name):
    """Why the hyperparameter `name` cannot differ between groups; an empty string if it can."""
    if name in _OF_ALL:
        return _OF_ALL[name]
    if name == "beta_1" and isinstance(optimizer, keras.optimizers.Nadam):
        return "Nadam keeps one product of its momenta for all variables"
    keeps_no_momentum = name == "momentum" and not vars(optimizer).get(name)
    if keeps_no_momentum and isinstance(optimizer, (keras.optimizers.SGD, keras.optimizers.RMSprop)):
        return (
            "made with momentum=0 it keeps no momentum. Make it with a momentum above 0, and set 0 for the variables that "
            "should have none"
        )
    return ""


def why_constant(optimizer, name):
    """Why the hyperparameter `name` cannot change during training; an empty string if it can."""
    # Since Keras 3.14.
    if name == "beta_1" and isinstance(optimizer, getattr(keras.optimizers, "ScheduleFreeAdamW", ())):
        return "ScheduleFreeAdamW recomputes its average from the weights with the beta_1 of the previous step"
    return ""


# Hyperparameters that Keras's formulas subtract from 1 or test (`if self.momentum > 0`).
_ASKED = ("beta_1", "beta_2", "rho", "adam_beta_1", "adam_beta_2", "momentum", "warmup_steps")


class Number:
    """A hyperparameter of the step instead of a Python number: `base + change`, where `change` is a tensor.

    Keras's formulas accept it like a number. It has two advantages over a plain tensor: while `change` is 0, `1 - 0.999`
    is exact (in float32 it would be 1e-5 off); and tests made while tracing (`if self.momentum > 0`) are true.

    Args:
        base: Float.
        change: A scalar tensor.
    """

    def __init__(self, base, change):
        self.base = base
        self.change = change

    @property
    def tensor(self):
        """The number as a tensor."""
        return self.change + self.base if self.base else self.change

    @property
    def dtype(self):
        """Its dtype."""
        return self.change.dtype

    shape = ()

    def __jax_array__(self):
        return self.tensor

    def __tf_tensor__(self, dtype=None, name=None):
        return keras.ops.cast(self.tensor, dtype) if dtype is not None else self.tensor

    def __add__(self, other):
        return Number(self.base + other, self.change) if isinstance(other, (int, float)) else self.tensor + other

    __radd__ = __add__

    def __neg__(self):
        return Number(-self.base, -self.change)

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return -self + other

    def __mul__(self, other):
        return self.tensor * other

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self.tensor / other

    def __rtruediv__(self, other):
        return other / self.tensor

    def __pow__(self, other):
        return self.tensor**other

    def __bool__(self):
        return True

    def __eq__(self, other):
        return self is other

    def __gt__(self, other):
        return True

    def __hash__(self):
        return id(self)


def in_step(optimizer, name, number):
    """The number in the form that the optimizer's update needs: a `Number` for Keras's formulas, otherwise a tensor."""
    by_keras = is_in_keras(first_with(type(optimizer), "update_step"))
    return number if by_keras and name in _ASKED else number.tensor


def clipped_together(gradients, norm):
    """The gradients, clipped by their joint norm; `None` stays `None`."""
    gradients = list(gradients)
    if keras.backend.backend() != "tensorflow":
        return base_optimizer.clip_by_global_norm(gradients, norm)
    import tensorflow as tf  # embeddings have gradients as slices, which cannot be multiplied

    clipped, _ = tf.clip_by_global_norm(gradients, norm)
    return clipped
