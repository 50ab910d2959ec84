"""Find the layers of `keras.layers` that have weights."""

import inspect

import keras

# Keras creates weights in `build`, so a layer class without its own `build` has none. Exceptions,
# which `tests/layers/test_layer_classes.py` compares with the installed Keras:
WITHOUT_WEIGHTS = {  # these only check or configure in `build`
    *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
    *("AugMix", "RandAugment", "RandomColorJitter", "TextVectorization"),
}
WITHOUT_BUILD = {"TFSMLayer", "TorchModuleWrapper"}  # these have weights from outside Keras


def owns_weights(cls: type[keras.layers.Layer]) -> bool:
    """Whether layers of `cls`, a class of `keras.layers`, have weights, directly or in sublayers."""
    builds = cls.build is not keras.layers.Layer.build
    return (builds or cls.__name__ in WITHOUT_BUILD) and cls.__name__ not in WITHOUT_WEIGHTS


def classes_with_weights() -> dict[str, type[keras.layers.Layer]]:
    """The classes of `keras.layers` with weights, under all their names (`Conv2D`, `Convolution2D`)."""
    return {
        name: cls
        for name, cls in vars(keras.layers).items()
        if inspect.isclass(cls)
        and issubclass(cls, keras.layers.Layer)
        and not issubclass(cls, keras.Model)
        and owns_weights(cls)
    }
