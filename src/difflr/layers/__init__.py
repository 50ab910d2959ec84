"""Keras layers that declare their own learning-rate multipliers.

Every layer of `keras.layers` with weights is here under the same name, generated from Keras. Convolutions and
`Dense` take `W_learning_rate_multiplier` and `b_learning_rate_multiplier`, all take `learning_rate_multiplier`.
"""

from difflr import keras_private
from difflr.layers.declaring import (
    DeclaresKernelAndBias,
    DeclaresMultipliers,
    classes_with_weights,
    declaring_class,
    warn_if_ignored,
)

_BASES = classes_with_weights()
_OWN = {base: declaring_class(base) for base in dict.fromkeys(_BASES.values())}
_CLASSES = {name: _OWN[base] for name, base in _BASES.items()}
globals().update(_CLASSES)

keras_private.before_build(warn_if_ignored)

__all__ = ["DeclaresKernelAndBias", "DeclaresMultipliers", *sorted(_CLASSES)]
