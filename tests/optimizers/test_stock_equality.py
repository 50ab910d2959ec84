"""All multipliers 1: bit for bit the stock optimizer."""

import inspect

import keras
import pytest
from optimizers.steps import NAMES, SETTINGS, assert_same, chain, fit, new_variables, ours, slow_half, stock, train, values

import difflr


def own_state(optimizer, like):
    """The values of the state that the stock optimizer `like` has too."""
    return values(optimizer.variables[: len(like.variables)])


def test_every_optimizer_of_keras_is_there():
    wrappers = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}
    in_keras = {
        name
        for name, thing in vars(keras.optimizers).items()
        if inspect.isclass(thing) and issubclass(thing, keras.optimizers.Optimizer)
    } - wrappers
    assert in_keras == set(NAMES)
    assert {"SGD", "Adam", "AdamW", "Muon", "Nadam", "Adafactor", "Ftrl", "Lamb", "Lion"} <= in_keras
    assert set(difflr.optimizers.__all__) - {"DifferentialOptimizer", "differential"} == in_keras


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_ones_are_the_stock_optimizer(name, setting):
    mine, theirs = new_variables(), new_variables()
    start = values(mine)
    optimizer, reference = ours(name, 1.0, **SETTINGS[setting]), stock(name, **SETTINGS[setting])
    got = train(optimizer, mine)
    assert_same(got, train(reference, theirs))
    assert_same(own_state(optimizer, reference), values(reference.variables))
    assert all((now != before).any() for now, before in zip(got, start, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_groups_that_all_have_one_are_the_stock_optimizer(name):
    """Two groups at work, torch's collective update is called twice a step."""
    mine, theirs = new_variables(), new_variables()
    optimizer, reference = ours(name, slow_half(mine), weight_decay=0.3), stock(name, weight_decay=0.3)
    optimizer.build(mine)
    for variable in mine[2:]:
        assert optimizer.multipliers[variable] != 1
    with_both_named(optimizer, mine[2:])
    assert_same(train(optimizer, mine), train(reference, theirs))
    assert_same(own_state(optimizer, reference), values(reference.variables))


def with_both_named(optimizer, variables):
    """Sets the group of `variables` to 1, through a layer that owns them."""
    layer = keras.layers.Layer()
    for number, variable in enumerate(variables):
        setattr(layer, f"weight_{number}", variable)
    optimizer.multipliers[layer] = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_ones_compiled_are_the_stock_optimizer(name):
    mine, theirs = new_variables(), new_variables()
    got = train(ours(name, 1.0, weight_decay=0.3), mine, compiled=True)
    assert_same(got, train(stock(name, weight_decay=0.3), theirs, compiled=True))


@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adagrad", "AdamW", "Nadam"])
def test_ones_in_fit_are_the_stock_optimizer(name):
    """What compiles the optimizer together with the gradients: XLA must not round a factor of 1 differently."""
    settings = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    trained = []
    for optimizer in (ours(name, None, **settings), stock(name, **settings)):
        model = chain()
        model.compile(optimizer, loss="mse")
        trained.append(values(fit(model, epochs=2, batch_size=4).weights))
    assert_same(*trained)
