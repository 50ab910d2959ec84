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
    """The generator of Keras's unseeded random numbers and its state, for `set_global_seed`; `None` before its first use."""
    generator = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR)
    return None if generator is None else (generator, keras.ops.convert_to_numpy(generator.state).copy())


def set_global_seed(found):
    """Puts back what `global_seed` returned; `None`: takes the generator away, and the next one is drawn anew."""
    global_state.set_global_attribute(GLOBAL_SEED_GENERATOR, None if found is None else found[0])
    if found is not None:
        found[0].state.assign(found[1])
