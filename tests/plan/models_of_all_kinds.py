"""Small models of every kind whose layer tree a plan has to walk."""

import keras
from keras import layers


def functional():
    """Two towers with equal inner names, and a head."""
    inputs = keras.Input((4,))
    towers = [keras.Sequential([layers.Dense(4, name="fc")], name=name)(inputs) for name in ("left", "right")]
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.Add()(towers)))


def nested():
    """A backbone in a backbone, BatchNormalization with and without weights of its own to train."""
    inner = keras.Sequential([layers.Dense(4, name="a"), layers.BatchNormalization(name="bn")], name="inner")
    bare = layers.BatchNormalization(scale=False, center=False, name="bare")
    backbone = keras.Sequential([layers.Dense(4, name="stem"), inner, bare], name="backbone")
    return keras.Sequential([keras.Input((4,)), backbone, layers.Dense(2, name="head")])


def shared():
    """One layer used in two places of the tree: `first/shared` and `second/shared`."""
    one = layers.Dense(4, name="shared")
    inputs = keras.Input((4,))
    first = keras.Sequential([one], name="first")
    second = keras.Sequential([layers.Dense(4, name="before"), one], name="second")
    return keras.Model(inputs, layers.Dense(2, name="head")(second(first(inputs))))


class Subclassed(keras.Model):
    """Layers in attributes, a list and a dict, automatic names everywhere."""

    def __init__(self):
        super().__init__()
        self.encoder = keras.Sequential([layers.Dense(4), layers.Dense(4)])
        self.blocks = [layers.Dense(4), layers.Dense(4)]
        self.heads = {"age": layers.Dense(1), "sex": layers.Dense(1)}
        self.named = layers.Dense(4, name="by_hand")

    def call(self, x):
        x = self.encoder(x)
        for block in self.blocks:
            x = block(x)
        x = self.named(x)
        return self.heads["age"](x) + self.heads["sex"](x)


def subclassed():
    model = Subclassed()
    model(keras.ops.ones((1, 4)))
    return model


def attention():
    """Layers with sublayers: attention, a bidirectional LSTM, an embedding, a normalization."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(10, 4, name="tokens")(inputs)
    x = layers.MultiHeadAttention(2, 2, name="attend")(x, x)
    x = layers.LayerNormalization(name="norm")(x)
    x = layers.Bidirectional(layers.LSTM(3, name="lstm"), name="both")(x)
    return keras.Model(inputs, layers.Dense(2, name="head")(x))


ALL = {f.__name__: f for f in (functional, nested, shared, subclassed, attention)}
