"""Small models, one with names that would like to be markup."""

import keras

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "_$\\frac{", "模型😀&amp;")


def small_model(names=("stem", "block1", "block2")):
    body = keras.Sequential([keras.layers.Dense(4, name=name.replace("/", "|")) for name in names], name="backbone")
    return keras.Sequential([keras.Input((3,)), body, keras.layers.Dense(2, name="head")], name="small")
