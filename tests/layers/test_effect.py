"""One step of SGD moves every weight by exactly multiplier * learning rate * gradient."""

import keras
import numpy as np
import pytest

import difflr
from difflr.layers import LSTM, Conv1D, Dense, Embedding, LayerNormalization

pytestmark = pytest.mark.usefixtures("quick_compilation")

RATE = 0.5
DECLARED = {
    "embedding/embeddings": 0.25,
    "conv/kernel": 0.5,
    "conv/bias": 2.0,
    "norm/gamma": 4.0,
    "norm/beta": 1.0,
    "lstm/cell/kernel": 1.0,
    "lstm/cell/recurrent_kernel": 0.125,
    "lstm/cell/bias": 1.0,
    "head/kernel": 1.0,
    "head/bias": 0.0,
}
TOKENS = np.array([[0, 1, 2, 3], [4, 3, 2, 0]])
TARGETS = np.array([[1.0], [-2.0]], "float32")


def make(model_class, multipliers=True):
    """The same model, with what its layers declare or without."""
    keras.utils.set_random_seed(3)
    given = [
        {"learning_rate_multiplier": 0.25},
        {"W_learning_rate_multiplier": 0.5, "b_learning_rate_multiplier": 2.0},
        {"learning_rate_multiplier": {"gamma": 4.0}},
        {"learning_rate_multiplier": {"recurrent_kernel": 0.125}},
        {"b_learning_rate_multiplier": 0.0},
    ]
    embedding, conv, norm, lstm, head = given if multipliers else [{}] * 5
    x = inputs = keras.Input((4,), dtype="int32")
    x = Embedding(5, 3, name="embedding", **embedding)(x)
    x = Conv1D(3, 2, name="conv", **conv)(x)
    x = LayerNormalization(name="norm", **norm)(x)
    x = LSTM(2, name="lstm", unroll=True, **lstm)(x)
    return model_class(inputs, Dense(1, name="head", **head)(x))


def weights(model):
    return {row.path: keras.ops.convert_to_numpy(row.variable) for row in difflr.Plan(model).rows}


def step(model, optimizer):
    """What one step of `fit` adds to each weight."""
    before = weights(model)
    model.compile(optimizer, loss="mse")
    model.fit(TOKENS, TARGETS, batch_size=2, epochs=1, shuffle=False, verbose=0)
    return {path: after - before[path] for path, after in weights(model).items()}


@pytest.fixture(scope="module")
def plain_step():
    """The step at the rate 1 without multipliers: minus the gradient."""
    return step(make(keras.Model, multipliers=False), keras.optimizers.SGD(1.0))


@pytest.mark.same_everywhere(but=["difflr.Model"])
@pytest.mark.parametrize(
    ("model_class", "optimizer"),
    [
        (keras.Model, difflr.optimizers.SGD),
        (difflr.Model, difflr.optimizers.SGD),
        (difflr.Model, keras.optimizers.SGD),
    ],
    ids=["keras.Model", "difflr.Model", "difflr.Model and a stock optimizer"],
)
def test_one_step(model_class, optimizer, plain_step):
    moved = step(make(model_class), optimizer(RATE))
    assert moved.keys() == DECLARED.keys()
    for path, multiplier in DECLARED.items():
        assert np.abs(plain_step[path]).max() > 1e-4, f"{path} has no gradient, so this test says nothing"
        np.testing.assert_allclose(moved[path], multiplier * RATE * plain_step[path], rtol=1e-3, atol=1e-6)
    assert not moved["head/bias"].any()
