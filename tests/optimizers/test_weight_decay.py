"""Decoupled weight decay: by default with the effective rate, on request with the base rate."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BASE,
    NAMES,
    SOME,
    assert_all_differ,
    assert_close,
    assert_same,
    decay_arguments,
    new_variables,
    ours,
    stock,
    stock_values,
    tensors,
    train,
    values,
)

DECAY = 0.3


def decays(name, factor=1.0):
    """All of the optimizer's weight decays."""
    return dict.fromkeys(decay_arguments(name), DECAY * factor)


def no_decay(name):
    return dict.fromkeys(decay_arguments(name), 0.0)


def slow_rules(variables, **axes):
    return [difflr.Rule(variable, **axes) for variable in variables[2:]]


# The factors are powers of two, which float32 multiplies without rounding: results have to be equal bit for bit.


@pytest.mark.same_everywhere(but=SOME)
@pytest.mark.parametrize("name", NAMES)
def test_follows_the_effective_rate(name):
    variables = new_variables()
    got = train(ours(name, slow_rules(variables, multiplier=0.25), **decays(name)), variables)
    expected = stock_values(name, BASE * 0.25, **decays(name))
    undecayed = stock_values(name, BASE * 0.25, **no_decay(name))
    assert_same(got[2:], expected[2:])
    assert_all_differ(got[2:], undecayed[2:])


@pytest.mark.same_everywhere(but=SOME)
@pytest.mark.parametrize("name", NAMES)
def test_follows_the_base_rate_on_request(name):
    """At a quarter of the rate and four times the decay a stock optimizer decays as at the base rate."""
    variables = new_variables()
    rules = slow_rules(variables, multiplier=0.25)
    got = train(ours(name, rules, weight_decay_follows="base_rate", **decays(name)), variables)
    expected = stock_values(name, BASE * 0.25, **decays(name, 4.0))
    fast = stock_values(name, BASE, **decays(name))
    assert_same(got, fast[:2] + expected[2:])


@pytest.mark.same_everywhere(but=[f"{name}-effective_rate" for name in SOME])
@pytest.mark.parametrize(
    ("name", "follows"), [*((name, "effective_rate") for name in NAMES), ("AdamW", "base_rate"), ("Muon", "base_rate")]
)
def test_multiplier_of_the_decay(name, follows):
    """One kernel decays at twice the rate, one bias not at all; the rates are alike."""
    variables = new_variables()
    rules = [
        difflr.Rule(variables[2], weight_decay_multiplier=2.0),
        difflr.Rule(variables[3], weight_decay_multiplier=0.0),
    ]
    got = train(ours(name, rules, weight_decay_follows=follows, **decays(name)), variables)
    twice = stock_values(name, **decays(name, 2.0))
    never = stock_values(name, **no_decay(name))
    assert_same(got[:2], stock_values(name, **decays(name))[:2])
    assert_same(got[2:3], twice[2:3])
    assert_same(got[3:], never[3:])


@pytest.mark.parametrize(("follows", "rate_of_decay"), [("effective_rate", 0.1), ("base_rate", 1.0)])
def test_formula(follows, rate_of_decay):
    """Without a gradient SGD only decays: p * (1 - decay * decay multiplier * rate)."""
    variables = new_variables()
    start = values(variables)
    rules = slow_rules(variables, multiplier=0.1, weight_decay_multiplier=1.5)
    optimizer = ours("SGD", rules, BASE, weight_decay=DECAY, weight_decay_follows=follows)
    for _ in range(3):
        optimizer.apply(tensors([np.zeros(variable.shape, "float32") for variable in variables]), variables)
    factors = [1 - DECAY * BASE] * 2 + [1 - DECAY * 1.5 * BASE * rate_of_decay] * 2
    expected = [value * factor**3 for value, factor in zip(start, factors, strict=True)]
    assert_close(values(variables), expected)


def test_a_schedule_of_the_group_scales_its_decay_too():
    half = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
    for follows, factors in (("effective_rate", [0.5, 0.25]), ("base_rate", [1.0, 1.0])):
        variables = new_variables()
        start = values(variables)
        optimizer = ours("SGD", slow_rules(variables, schedule=half), weight_decay=DECAY, weight_decay_follows=follows)
        for _ in range(2):
            optimizer.apply(tensors([np.zeros(variable.shape, "float32") for variable in variables]), variables)
        shrunk = np.prod([1 - DECAY * BASE * factor for factor in factors])
        assert_close(values(variables)[2:], [value * shrunk for value in start[2:]])


@pytest.mark.same_everywhere(but=[f"{name}-name" for name in SOME])
@pytest.mark.parametrize(
    ("name", "by"), [*((name, "name") for name in NAMES), ("AdamW", "variable"), ("Muon", "variable")]
)
def test_exclude_from_weight_decay(name, by):
    trained = []
    for optimizer in (ours(name, None, **decays(name)), stock(name, **decays(name))):
        variables = new_variables()
        optimizer.exclude_from_weight_decay(
            **({"var_list": [variables[1], variables[3]]} if by == "variable" else {"var_names": ["bias"]})
        )
        trained.append(train(optimizer, variables))
    assert_same(*trained)
    assert_all_differ(trained[0][1::2], stock_values(name, **decays(name))[1::2])


def test_exclusion_is_part_of_the_plan_and_saved():
    variables = new_variables()
    optimizer = ours("AdamW", [(variables[2], 0.1)], weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    expected = train(optimizer, variables)
    rows = {row.variable.name: row for row in optimizer.plan.rows}
    assert {name: row.weight_decay_multiplier for name, row in rows.items()} == {
        "fast_kernel": 1.0,
        "fast_bias": 0.0,
        "slow_kernel": 1.0,
        "slow_bias": 0.0,
    }
    assert rows["fast_bias"].decided["weight_decay_multiplier"] == "exclude_from_weight_decay"
    again = new_variables()
    assert_same(train(difflr.optimizers.AdamW.from_config(optimizer.get_config()), again), expected)


def test_exclusion_is_refused_once_built():
    variables = new_variables()
    optimizer = ours("AdamW", None)
    optimizer.build(variables)
    with pytest.raises(ValueError, match=r"before the optimizer is built.*weight_decay_multiplier=0.0"):
        optimizer.exclude_from_weight_decay(var_list=variables[:1])


def test_all_excluded():
    variables = new_variables()
    optimizer = ours("AdamW", None, weight_decay=DECAY)
    optimizer.exclude_from_weight_decay(var_list=variables)
    assert_same(train(optimizer, variables), stock_values("AdamW", weight_decay=0.0))


def test_unknown_thing_to_follow():
    with pytest.raises(ValueError, match=r"'effective_rate' or 'base_rate'. Received: 'rate'"):
        ours("AdamW", None, weight_decay_follows="rate")


def test_decay_multiplier_without_decay_is_not_silent():
    variables = new_variables()
    optimizer = ours("SGD", slow_rules(variables, weight_decay_multiplier=2.0))
    with pytest.warns(UserWarning, match=r"scales the weight decay of 2 variables .*weight_decay=None"):
        optimizer.build(variables)
    excluding = new_variables()
    ours("SGD", slow_rules(excluding, weight_decay_multiplier=0.0)).build(excluding)  # no decay is no news


def test_in_fit():
    """Compiled with everything else: the decay of the slow layer follows its rate."""
    from optimizers.steps import moves, side_by_side

    model = side_by_side()
    start = values([model.get_layer("fast").kernel, model.get_layer("slow").kernel])
    plan = difflr.Plan(model, {"slow": difflr.Rule.of("slow", 0.5).axes})
    model.compile(difflr.optimizers.SGD(0.1, weight_decay=0.5, multipliers=plan), loss=lambda y, p: 0.0 * p[:, 0])
    got = moves(model)
    assert_close(got, [start[0] * -0.05, start[1] * -0.025], rtol=1e-5)
