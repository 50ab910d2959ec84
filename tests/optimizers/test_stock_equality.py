"""All multipliers 1: bit for bit the stock optimizer."""

import inspect

import keras
import pytest

import difflr
from optimizers.steps import (
    NAMES,
    ONE_SETTING,
    SETTINGS,
    assert_all_differ,
    assert_close,
    assert_same,
    chain,
    compiled_step,
    fit,
    new_variables,
    ours,
    restore,
    slow_half,
    stock,
    train,
    values,
)


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
    assert set(difflr.optimizers.__all__) - {"DifferentialOptimizer", "differential", "plan_of", "replan"} == in_keras


@pytest.mark.same_everywhere(but=ONE_SETTING)
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


def set_to_one(optimizer, variables):
    """Sets the group of `variables` to 1, through a layer that owns them."""
    layer = keras.layers.Layer()
    for number, variable in enumerate(variables):
        setattr(layer, f"weight_{number}", variable)
    optimizer.multipliers[layer] = 1.0


@pytest.mark.parametrize("name", NAMES)
def test_two_groups_at_one_are_the_stock_optimizer(name):
    """On torch the collective update is called once for each group."""
    mine, theirs = new_variables(), new_variables()
    optimizer, reference = ours(name, slow_half(mine), weight_decay=0.3), stock(name, weight_decay=0.3)
    optimizer.build(mine)
    set_to_one(optimizer, mine[2:])
    assert_same(train(optimizer, mine), train(reference, theirs))
    assert_same(own_state(optimizer, reference), values(reference.variables))


@pytest.mark.same_everywhere(but=["Adam", "Adafactor", "Ftrl", "Muon", "SGD"])
@pytest.mark.parametrize("name", NAMES)
def test_compiled(name):
    """Through XLA: at a tenth of the rate as eagerly; back at 1, with the same compiled step, the stock optimizer."""
    mine, theirs = new_variables(), new_variables()
    optimizer, reference = ours(name, slow_half(mine), weight_decay=0.3), stock(name, weight_decay=0.3)
    optimizer.build(mine)
    reference.build(theirs)
    everything = [*mine, *optimizer.variables]
    start = values(everything)
    step = compiled_step(optimizer, mine)
    eager = new_variables()
    expected = train(ours(name, slow_half(eager), weight_decay=0.3), eager)
    assert_close(train(optimizer, mine, step=step), expected, rtol=5e-6, atol=1e-6)
    restore(everything, start)
    set_to_one(optimizer, mine[2:])
    got = train(optimizer, mine, step=step)
    assert_same(got, train(reference, theirs, step=compiled_step(reference, theirs)))
    assert_all_differ(got[2:], expected[2:])


@pytest.mark.same_everywhere(but=["AdamW"])
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
