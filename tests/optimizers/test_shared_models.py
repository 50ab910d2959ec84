"""A model that shares variables with a larger one whose plan freezes them."""

import keras
import numpy as np
import pytest

import difflr
from difflr import FROZEN, Plan

X, Y, Z = np.ones((8, 4), "float32"), np.zeros((8, 1), "float32"), np.ones((8, 3), "float32")


@pytest.fixture
def models():
    """A discriminator, and a GAN around it."""
    layers = [keras.layers.Dense(4, name="first"), keras.layers.Dense(1, name="last")]
    discriminator = keras.Sequential([keras.Input((4,)), *layers], name="discriminator")
    noise = keras.Input((3,))
    gan = keras.Model(noise, discriminator(keras.layers.Dense(4, name="generator")(noise)), name="gan")
    plan = Plan(gan, {"discriminator/first": FROZEN})
    gan.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
    return discriminator, gan


def moves(model, names, x):
    """Whether the kernels of layers move in a `fit`."""

    def kernels():
        return [model.get_layer(name).get_weights()[0].copy() for name in names]

    before = kernels()
    model.fit(x, Y, verbose=0)
    return [not np.array_equal(old, new) for old, new in zip(before, kernels(), strict=True)]


@pytest.mark.filterwarnings("ignore:__array__")  # which `pytest.warns` passes on
@pytest.mark.parametrize("optimizers", [keras.optimizers, difflr.optimizers], ids=["stock", "difflr"])
def test_who_trains_it_alone_is_warned_of_what_stands_still(models, optimizers):
    discriminator, gan = models
    discriminator.compile(optimizers.SGD(0.1), loss="mse")
    with pytest.warns(UserWarning, match="'discriminator' is trained without .*first/kernel.*the plan of 'gan'"):
        assert moves(discriminator, ["first", "last"], X) == [False, True]
    assert moves(gan, ["generator"], Z) == [True]


def test_it_trains_whole_once_the_plan_freezes_nothing_of_it(models):
    discriminator, gan = models
    difflr.replan(gan, Plan(gan))
    discriminator.compile(keras.optimizers.SGD(0.1), loss="mse")
    assert moves(discriminator, ["first", "last"], X) == [True, True]
