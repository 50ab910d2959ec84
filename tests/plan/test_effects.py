"""What rules say, by effect: how far the weights move in one real step of `fit`."""

import keras
import numpy as np
import pytest
from keras import layers

import difflr
from difflr.schedules import Constant, Delayed

pytestmark = pytest.mark.usefixtures("quick_compilation")

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(16, 2)).astype("float32")
BASE = 0.125


def network():
    keras.utils.set_random_seed(0)
    a, b = layers.Dense(3, name="a"), layers.Dense(3, name="b")
    inputs = keras.Input((4,))
    x = b(layers.ReLU(name="relu")(a(inputs)))
    return keras.Model(inputs, layers.Dense(2, name="head")(layers.LayerNormalization(name="norm")(x)))


def moves(model, optimizer):
    """Path -> how far the variable moves."""
    rows = difflr.Plan(model).rows
    before = [keras.ops.convert_to_numpy(row.variable) for row in rows]
    model.compile(optimizer, loss="mse")
    model.fit(X, Y, batch_size=16, verbose=0)
    return {row.path: keras.ops.convert_to_numpy(row.variable) - old for row, old in zip(rows, before, strict=True)}


STOCK = {}


def factors(multipliers):
    """How many times as far as with stock SGD each variable moves, given the rules as a function of the model."""
    if not STOCK:
        STOCK.update(moves(network(), keras.optimizers.SGD(BASE)))
    model = network()
    moved = moves(model, difflr.optimizers.SGD(BASE, multipliers=multipliers(model)))
    result = {}
    for path, move in moved.items():
        largest = np.abs(STOCK[path]).argmax()
        result[path] = move.flat[largest] / STOCK[path].flat[largest]
        np.testing.assert_allclose(move, STOCK[path] * result[path], rtol=1e-3, atol=1e-6)
    return result


EVERYTHING = ["a/kernel", "a/bias", "b/kernel", "b/bias", "norm/gamma", "norm/beta", "head/kernel", "head/bias"]
TARGETS = {
    "list": (lambda model: model.layers[:3], EVERYTHING[:2]),
    "layer class": (lambda model: layers.Dense, [path for path in EVERYTHING if "norm" not in path]),
    "everything but": (lambda model: difflr.everything_but("head", "kind:norm"), EVERYTHING[:4]),
    "everything but objects": (lambda model: difflr.everything_but([model.layers[1], layers.Dense]), EVERYTHING[4:6]),
    "kind:bias": (lambda model: "kind:bias", [path for path in EVERYTHING if path.endswith("bias")]),
    "kind:norm": (lambda model: "kind:norm", EVERYTHING[4:6]),
    "kind:no_decay": (lambda model: "kind:no_decay", [path for path in EVERYTHING if not path.endswith("kernel")]),
}


@pytest.mark.same_everywhere(but=["list-0.25-0.25", "layer class-frozen"])
@pytest.mark.parametrize(
    ("target", "value", "factor"),
    [
        *((target, 0.25, 0.25) for target in TARGETS),
        *(
            pytest.param(target, difflr.FROZEN, 0, id=f"{target}-frozen")
            for target in ("list", "layer class", "everything but")
        ),
    ],
)
def test_targets(target, value, factor):
    function, paths = TARGETS[target]
    moved = factors(lambda model: difflr.Plan(model, [(function(model), value)]))
    assert moved == pytest.approx({path: factor if path in paths else 1 for path in EVERYTHING}, abs=1e-3)


@pytest.mark.same_everywhere(but=["<lambda>-paths0", "<lambda>-paths1"])
@pytest.mark.parametrize(
    ("rules", "paths"),
    [
        (lambda model: {"kind:bias": 0.25}, TARGETS["kind:bias"][1]),
        (lambda model: [(model.layers[:3], 0.25)], EVERYTHING[:2]),
        (lambda model: [(layer, 0.25) for layer in model.layers[:3]], EVERYTHING[:2]),
        (lambda model: {difflr.everything_but(model.layers[1]): 0.25}, EVERYTHING[2:]),
    ],
)
def test_rules_for_an_optimizer_that_knows_no_model(rules, paths):
    assert factors(rules) == pytest.approx({path: 0.25 if path in paths else 1 for path in EVERYTHING}, abs=1e-3)


@pytest.mark.same_everywhere
def test_learning_rates():
    rules = {"a": {"learning_rate": BASE / 4}, "head": {"learning_rate": 0}}
    moved = factors(lambda model: difflr.Plan(model, rules, learning_rate=BASE))
    assert [moved[path] for path in EVERYTHING] == pytest.approx([0.25] * 2 + [1] * 4 + [0] * 2, abs=1e-3)


@pytest.mark.same_everywhere
def test_a_constant_takes_a_schedule_away():
    rules = {"*": Delayed(1.0, 10), "head": Constant(), "norm": Constant(0.25)}
    moved = factors(lambda model: difflr.Plan(model, rules))
    assert [moved[path] for path in EVERYTHING] == pytest.approx([0] * 4 + [0.25] * 2 + [1] * 2, abs=1e-3)


@pytest.mark.same_everywhere
def test_names_change_nothing_else():
    rules = {"*": {"name": "all of it"}, "a": {"multiplier": 0.25, "name": "early"}, "head": {"name": "top"}}
    moved = factors(lambda model: difflr.Plan(model, rules))
    assert [moved[path] for path in EVERYTHING] == pytest.approx([0.25] * 2 + [1] * 6, abs=1e-3)
