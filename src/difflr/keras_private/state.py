"""State that is no variable of the model: flags of layers, Keras's own seed."""

import keras
from keras.src.backend.common import global_state
from keras.src.random.seed_generator import GLOBAL_SEED_GENERATOR


def layer_flags(model: keras.Layer) -> list:
    """`(layer, flag)` for a model and every layer in it: whether `trainable` was set on the layer itself.

    The public `layer.trainable` sets everything below the layer, too, so that it cannot put flags back one by one.
    """
    return [(layer, layer._trainable) for layer in model._flatten_layers()]


def set_layer_flags(flags: list) -> None:
    """Puts back what `layer_flags` returned, and nothing below the layers."""
    for layer, flag in flags:
        layer._trainable = flag


def global_seed():
    """The state of the generator of Keras's unseeded random numbers, as a variable; `None` before its first use."""
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    return None if generator is None else generator.state


def forget_global_seed():
    """Takes Keras's generator away, as before its first use."""
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None)
