"""What is trained: bare weights with gradients fed by hand, equal dense blocks, and two small networks."""

import keras
import numpy as np

from benchmarks import settings


class BareWeights(keras.Layer):
    """A layer that is nothing but square weights."""

    def __init__(self, count: int, width: int):
        super().__init__(name="bare")
        values = np.random.default_rng(0).normal(size=(width, width)).astype("float32") * 0.05
        for number in range(count):
            self.add_weight(
                shape=(width, width), initializer=lambda shape, dtype=None: values, name=f"weight_{number:03d}"
            )
        self.built = True


def bare_weights(model: str) -> BareWeights:
    """The "small" or the "large" bare model."""
    return BareWeights(settings.COUNT, settings.WIDTHS[model])


def gradients(layer: keras.Layer) -> list:
    """One gradient for each trainable variable, on the backend's device."""
    values = np.random.default_rng(1).normal(size=layer.trainable_variables[0].shape).astype("float32")
    values *= settings.GRADIENT_SIZE
    return [keras.ops.convert_to_tensor(values * (1 + i / 1000)) for i, _ in enumerate(layer.trainable_variables)]


def group_numbers(items: int, groups: int) -> list[int]:
    """The group of each item: equal runs, in order."""
    return [item * groups // items for item in range(items)]


def multipliers(groups: int) -> list[float]:
    """A different multiplier for each group, none of them 1."""
    return [0.5 + 0.4 * group / groups for group in range(groups)]


def dense_blocks(width: int = 512) -> keras.Model:
    """Equal dense blocks, one after another."""
    layers = [keras.layers.Dense(width, activation="relu", name=f"block_{i}") for i in range(settings.BLOCKS)]
    return keras.Sequential([keras.Input((width,)), *layers], name="blocks")


def small_convolutional() -> keras.Model:
    """Fourteen convolutions with batch normalization, as in the first half of a MobileNet."""
    x = inputs = keras.Input((32, 32, 3))
    for number in range(14):
        strides = 2 if number in (3, 7, 11) else 1
        x = keras.layers.Conv2D(16 * 2 ** (number // 4), 3, strides=strides, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def mobile_net() -> keras.Model:
    """Keras's MobileNetV2, 2.3 million parameters, for small pictures."""
    return keras.applications.MobileNetV2((32, 32, 3), weights=None, classes=10, classifier_activation=None)


def small_transformer(width: int = 128, blocks: int = 4, length: int = 32) -> keras.Model:
    """Four transformer blocks over a thousand words."""
    inputs = keras.Input((length,), dtype="int32")
    x = keras.layers.Embedding(1000, width)(inputs)
    for _ in range(blocks):
        y = keras.layers.LayerNormalization()(x)
        x = x + keras.layers.MultiHeadAttention(4, width // 4)(y, y)
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(4 * width, activation="gelu")(y)
        x = x + keras.layers.Dense(width)(y)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.LayerNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(10)(x))


NETWORKS = {
    "MobileNetV2": mobile_net,
    "small convolutional": small_convolutional,
    "small transformer": small_transformer,
}


def data_for(model: keras.Model, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Random input for a network, and classes."""
    random = np.random.default_rng(2)
    shape = (samples, *model.input_shape[1:])
    if "int" in model.inputs[0].dtype:
        x = random.integers(0, 1000, shape).astype("int32")
    else:
        x = random.normal(size=shape).astype("float32")
    return x, random.integers(0, 10, samples).astype("int32")


class ManyVariables(keras.Model):
    """Dense layers in a list: many variables, made quickly."""

    def __init__(self, variables: int):
        super().__init__(name="many")
        self.blocks = [keras.layers.Dense(1) for _ in range(variables // 2)]
        for block in self.blocks:
            block.build((None, 1))
        self.built = True
