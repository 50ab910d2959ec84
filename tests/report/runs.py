"""Small models, one with names that would like to be markup."""

import keras

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "_$\\frac{", "模型😀&amp;")


def small_model(names=("stem", "block1", "block2")):
    body = keras.Sequential([keras.layers.Dense(4, name=name.replace("/", "|")) for name in names], name="backbone")
    return keras.Sequential([keras.Input((3,)), body, keras.layers.Dense(2, name="head")], name="small")


class Constant(keras.layers.Layer):
    """Adds its weight: with the mean as the loss its gradient is 1, and a step of SGD shows its rate."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(), name="kernel", initializer="zeros")

    def call(self, inputs):
        return inputs + self.kernel
