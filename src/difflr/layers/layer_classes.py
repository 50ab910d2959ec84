"""Which layers of `keras.layers` own weights."""

import inspect

import keras

# Keras makes the weights of a layer in its `build`, so a layer without a `build` of its own has none. The exceptions,
# which `tests/layers/test_layer_classes.py` compares with the installed Keras:
WITHOUT_WEIGHTS = {  # these check or configure in `build`, and make no weights
    *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
    *("AugMix", "RandAugment", "RandomColorJitter", "TextVectorization"),
}
WITHOUT_BUILD = {"TFSMLayer", "TorchModuleWrapper"}  # these bring weights from outside Keras


def owns_weights(cls: type[keras.layers.Layer]) -> bool:
    """Whether layers of `cls`, a class of `keras.layers`, have weights of their own or of layers inside them."""
    builds = cls.build is not keras.layers.Layer.build
    return (builds or cls.__name__ in WITHOUT_BUILD) and cls.__name__ not in WITHOUT_WEIGHTS


def classes_with_weights() -> dict[str, type[keras.layers.Layer]]:
    """The classes of `keras.layers` that own weights, by every name they have there (`Conv2D`, `Convolution2D`)."""
    return {
        name: cls
        for name, cls in vars(keras.layers).items()
        if inspect.isclass(cls)
        and issubclass(cls, keras.layers.Layer)
        and not issubclass(cls, keras.Model)
        and owns_weights(cls)
    }
