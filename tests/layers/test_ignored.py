"""Declared multipliers that a stock optimizer would ignore."""

import contextlib
import re
import warnings

import keras
import numpy as np
import pytest

import difflr
from difflr.layers import Dense
from difflr.optimizers import differential

X, Y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")


def network(model_class=keras.Sequential, **declaration):
    slow = keras.Sequential([Dense(3, **declaration, name="slow")])
    return model_class([keras.Input((4,)), slow, keras.layers.Dense(2)])


@contextlib.contextmanager
def warned(pattern=None):
    """Expects one warning of ignored multipliers, or none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    found = [str(warning.message) for warning in caught if "declare" in str(warning.message)]
    assert len(found) == (pattern is not None), found
    assert all(re.search(pattern, message) for message in found), found


def fit(model, optimizer):
    model.compile(optimizer, loss="mse")
    model.fit(X, Y, verbose=0)


STOCK = {
    "plain": keras.optimizers.Adam,
    "scaled": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam()),
}


@pytest.mark.same_everywhere(but=["plain"])
@pytest.mark.parametrize("make", STOCK.values(), ids=STOCK)
def test_training_with_a_stock_optimizer_warns_once(make):
    model = network(W_learning_rate_multiplier=0.1)
    with warned(r"^Layer 'slow' declares .* Keras's Adam ignores.*differential"):
        fit(model, make())
        model.fit(X, Y, verbose=0)


def test_a_custom_loop_is_warned():
    model = network(learning_rate_multiplier=0.1)
    with warned("Keras's SGD ignores"):
        keras.optimizers.SGD().build(model.trainable_variables)


def test_a_recompiled_model_is_warned():
    model = network(learning_rate_multiplier=0.1)
    fit(model, difflr.optimizers.SGD())
    with warned("Keras's SGD ignores"):
        fit(model, keras.optimizers.SGD())


SILENT = {
    "a differential optimizer": lambda: (network(learning_rate_multiplier=0.1), difflr.optimizers.Adam()),
    "one around another": lambda: (
        network(learning_rate_multiplier=0.1),
        keras.optimizers.LossScaleOptimizer(differential(keras.optimizers.Adam())),
    ),
    "difflr.Sequential": lambda: (network(difflr.Sequential, learning_rate_multiplier=0.1), "adam"),
    "frozen": lambda: (network(learning_rate_multiplier=0.0), "adam"),
    "1": lambda: (network(learning_rate_multiplier=1.0), "adam"),
    "nothing declared": lambda: (network(), "adam"),
}


@pytest.mark.same_everywhere(but=["a differential optimizer"])
@pytest.mark.parametrize("make", SILENT.values(), ids=SILENT)
def test_what_takes_effect_is_silent(make):
    with warned():
        fit(*make())
