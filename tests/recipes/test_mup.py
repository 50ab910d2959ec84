"""`mup`: its table, and the coordinate check that shows what it is for."""

import keras
import numpy as np
import pytest

import difflr

WIDTHS = [32, 512]


def network(width, depth=2):
    normal = keras.initializers.LecunNormal
    hidden = [keras.layers.Dense(width, "relu", kernel_initializer=normal(seed=n)) for n in range(1 + depth)]
    return keras.Sequential([keras.Input((8,)), *hidden, keras.layers.Dense(3, kernel_initializer="zeros")])


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [  # kernel and bias of the first, the hidden and the last layer, four times as wide
        ("adam", [1, 1, 1 / 4, 1, 1 / 4, 1]),
        ("sgd", [4, 4, 1, 4, 1 / 4, 1]),
    ],
)
def test_the_table(optimizer, expected):
    plan = difflr.mup(network(64, depth=1), network(16, depth=1), optimizer)
    assert [row.multiplier for row in plan.rows] == expected


def test_nothing_wider_nothing_changed():
    assert {row.multiplier for row in difflr.mup(network(16), network(16)).rows} == {1}


def attention(width, heads):
    inputs = keras.Input((3, width))
    x = keras.layers.Conv1D(width, 1, name="conv")(inputs)
    x = keras.layers.MultiHeadAttention(heads, 4, name="attention")(x, x)
    return keras.Model(inputs, keras.layers.LayerNormalization(name="norm")(x))


@pytest.mark.same_everywhere
def test_inputs_and_outputs_of_an_einsum():
    plan = difflr.mup(attention(16, 4), attention(8, 2), "adam")
    factors = {row.path: row.multiplier for row in plan.rows}
    assert {path.split("/")[-2] for path, factor in factors.items() if factor == 1 / 2} == {
        "conv", "query", "key", "value", "attention_output",
    }  # fmt: skip
    assert all(factor == 1 for path, factor in factors.items() if not path.endswith("kernel"))


def changes(width, optimizer_class, rate, multipliers):
    """How much each layer's output changes in three steps: the mean absolute difference."""
    model = network(width)
    plan = difflr.mup(model, network(WIDTHS[0]), optimizer_class.__name__.lower()) if multipliers else None
    random = np.random.default_rng(0)
    x, y = random.normal(size=(16, 8)).astype("float32"), random.normal(size=(16, 3)).astype("float32")
    layers = keras.Model(model.inputs[0], [layer.output for layer in model.layers])
    before = [np.array(output) for output in map(keras.ops.convert_to_numpy, layers(x))]
    model.compile(optimizer_class(rate, multipliers=plan), loss="mse")
    for _ in range(3):
        model.train_on_batch(x, y)
    after = map(keras.ops.convert_to_numpy, layers(x))
    return np.array([np.mean(np.abs(new - old)) for new, old in zip(after, before, strict=True)])


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("optimizer_class", "rate"), [(difflr.optimizers.Adam, 0.003), (difflr.optimizers.SGD, 0.1)])
def test_coordinate_check(optimizer_class, rate):
    """With `mup` the changes do not depend on the width; with one rate for all they do.

    The exponent is the slope of log(change) over log(width), of the layer that depends on it most.
    """

    def exponent(multipliers):
        grid = np.log([changes(width, optimizer_class, rate, multipliers) for width in WIDTHS])
        return np.abs(np.polyfit(np.log(WIDTHS), grid, 1)[0]).max()

    assert exponent(multipliers=True) < 0.25
    assert exponent(multipliers=False) > 0.6


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("base", "message"),
    [
        (lambda: network(16, depth=1), r"one has 8 variables, the other 6"),
        (
            lambda: attention(8, 2),
            r"structure of `model`.*but `model` has .*\(8, 64\) where `base_model` has conv/kernel \(1, 8, 8\)",
        ),
    ],
)
def test_a_base_model_of_another_structure(base, message):
    with pytest.raises(ValueError, match=message):
        difflr.mup(network(64), base())


def test_an_optimizer_that_it_does_not_know():
    with pytest.raises(ValueError, match=r"'adam' or 'sgd'\. Received: 'adamw'\. Did you mean 'adam'"):
        difflr.mup(network(16), network(16), "adamw")
