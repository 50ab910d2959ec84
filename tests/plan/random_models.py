"""Random models: layer trees of every kind, the same tree for the same number."""

import functools
import random

import keras
from keras import layers

import difflr

WIDTH = 3  # of everything, so that any layer can follow any other
# TensorFlow takes no brackets in names.
NAMES = ("a", "b", "a_1", "stem", "fc.1" if keras.backend.backend() == "tensorflow" else "fc[1]", "bias")


class Scaling(keras.layers.Layer):
    """Two weights without names of their own, told apart by their attributes."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones")
        self.offsets = [self.add_weight(shape=(shape[-1],), initializer="zeros")]

    def call(self, x):
        return x * self.factor + self.offsets[0]


class Holder(keras.Model):
    """Layers in an attribute, a list and a dict, most with automatic names."""

    def __init__(self, first, blocks, named, **arguments):
        super().__init__(**arguments)
        self.first = first
        self.blocks = blocks
        self.named = named

    def call(self, x):
        for layer in [self.first, *self.blocks, *self.named.values()]:
            x = layer(x)
        return x


class Maker:
    """Makes one model.

    Args:
        number: Decides everything.
    """

    def __init__(self, number):
        self.random = random.Random(number)
        self.shared = []  # layers that may be used once more elsewhere

    def model(self):
        make = self.random.choice([self.sequential, self.functional, self.holder])
        model = make("root", depth=2)
        model(keras.ops.ones((2, WIDTH)))
        return model

    def layer(self, name, depth):
        """A leaf, or, if there is depth left, perhaps a model."""
        kinds = [self.dense] * 3 + [self.declaring, self.norm, self.scaling, self.again]
        if depth:
            kinds += [self.sequential, self.functional, self.holder]
        return self.random.choice(kinds)(name, depth - 1)

    def children(self, depth, automatic=False, least=1):
        number = self.random.randint(least, 3)
        names = self.random.sample(NAMES, number)
        found = [self.layer(None if automatic and self.random.random() < 0.7 else name, depth) for name in names]
        unique = {layer.name: layer for layer in found}
        return list(unique.values())

    def dense(self, name, depth):
        layer = layers.Dense(WIDTH, name=name, bias_initializer="ones")
        self.shared.append(layer)
        return layer

    def declaring(self, name, depth):
        return difflr.layers.Dense(WIDTH, W_learning_rate_multiplier=0.5, b_learning_rate_multiplier=2.0, name=name)

    def norm(self, name, depth):
        if self.random.random() < 0.3:
            return layers.LayerNormalization(name=name)
        trained = self.random.random() < 0.6
        return layers.BatchNormalization(scale=trained, center=trained, name=name)

    def scaling(self, name, depth):
        return Scaling(name=name)

    def again(self, name, depth):
        """A layer that is somewhere in the model already."""
        return self.random.choice(self.shared) if self.shared else self.dense(name, depth)

    def sequential(self, name, depth):
        inside = self.children(depth)
        return keras.Sequential([keras.Input((WIDTH,)), *inside] if name == "root" else inside, name=name)

    def functional(self, name, depth):
        """One way or two, which meet again."""
        x = inputs = keras.Input((WIDTH,))
        for layer in self.children(depth):
            x = layer(x)
        if self.random.random() < 0.5:
            left, right = (keras.Sequential([self.dense("fc", 0)], name=side) for side in ("left", "right"))
            x = layers.Add(name="sum")([left(x), right(x)])
        return keras.Model(inputs, x, name=name)

    def holder(self, name, depth):
        first, *blocks = self.children(depth, automatic=True)
        named = {"x": self.dense(None, 0)} if self.random.random() < 0.5 else {}
        return Holder(first, blocks, named, name=name)


@functools.cache
def made(number):
    """The model of that number, or `None` where it has nothing to train."""
    state = random.getstate()  # Keras draws from it, and hypothesis minds
    try:
        model = Maker(number).model()
    finally:
        random.setstate(state)
    return model if model.trainable_variables else None
