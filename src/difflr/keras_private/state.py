"""State outside the model's variables: the flags of layers and Keras's seed."""

import sys

import keras
from keras.src.backend.common import global_state
from keras.src.utils.module_utils import tensorflow  # what Keras asks whether TensorFlow is installed

_SEED_GENERATOR = "global_seed_generator"  # its name among Keras's global attributes, a constant there since 3.13


def layer_flags(model: keras.Layer) -> list:
    """`(layer, flag)` for a model and every layer in it: the layer's own `trainable` flag.

    Setting the public `layer.trainable` also sets everything below, so it cannot restore single flags.
    """
    return [(layer, layer._trainable) for layer in model._flatten_layers()]


def set_layer_flags(flags: list) -> None:
    """Restores the flags from `layer_flags`, one by one."""
    for layer, flag in flags:
        layer._trainable = flag


def global_seed():
    """Keras's global seed generator and its state, for `set_global_seed`; `None` before its first use."""
    generator = global_state.get_global_attribute(_SEED_GENERATOR)
    return None if generator is None else (generator, keras.ops.convert_to_numpy(generator.state).copy())


def set_global_seed(found):
    """Restores the result of `global_seed`; `None` removes the generator, so that Keras creates a new one."""
    global_state.set_global_attribute(_SEED_GENERATOR, None if found is None else found[0])
    if found is not None:
        found[0].state.assign(found[1])


def set_random_seed(seed: int) -> None:
    """`keras.utils.set_random_seed`, which need not import TensorFlow to seed it: 4.5 seconds of a processor.

    TensorFlow is seeded where it is the backend, or imported already.

    Args:
        seed: Integer.
    """
    available = tensorflow._available
    if keras.backend.backend() != "tensorflow" and "tensorflow" not in sys.modules:
        tensorflow._available = False
    try:
        set_global_seed(None)  # Keras 3.12 would continue its old numbers
        keras.utils.set_random_seed(seed)
    finally:
        tensorflow._available = available
