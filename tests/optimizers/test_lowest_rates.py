"""`min_learning_rate`: the effective rate of a group is never below it."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BACKEND,
    assert_close,
    chain,
    compiled_step,
    fit,
    new_variables,
    ours,
    stock,
    train,
    values,
)

schedules = keras.optimizers.schedules
FALLING = schedules.PiecewiseConstantDecay([0], [0.02, 0.0002])  # 0.02 in the first step


def expected(name, **settings):
    """Two steps: the first half as planned, the second at a tenth and never below 0.001."""
    fast = train(stock(name, FALLING, **settings), new_variables(), 2)
    slow = train(stock(name, schedules.PiecewiseConstantDecay([0], [0.002, 0.001]), **settings), new_variables(), 2)
    return fast[:2] + slow[2:]


def floored(variables, rate=0.001):
    return difflr.Plan(variables, [difflr.Rule(v, multiplier=0.1, min_learning_rate=rate) for v in variables[2:]])


@pytest.mark.parametrize(
    ("name", "fused"),
    [
        ("AdamW", True),
        ("Lamb", False),
        *(pytest.param(*case, marks=pytest.mark.same_everywhere) for case in [("SGD", True), ("SGD", False)]),
        *(pytest.param(*case, marks=pytest.mark.same_everywhere) for case in [("AdamW", False), ("Lamb", True)]),
    ],
)
def test_never_below(name, fused):
    settings = {"weight_decay": 0.3}  # which follows the effective rate
    variables = new_variables()
    optimizer = ours(name, floored(variables), FALLING, fused=fused, **settings)
    optimizer.build(variables)
    step = compiled_step(optimizer, variables) if BACKEND != "torch" else None
    assert_close(train(optimizer, variables, 2, step), expected(name, **settings), rtol=1e-5)
    rates = [optimizer.effective_rates()[id(variable)] for variable in variables]
    assert rates == pytest.approx([0.0002, 0.0002, 0.001, 0.001])


@pytest.mark.same_everywhere
def test_a_base_rate_of_0():
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", floored(variables), 0.1)
    optimizer.build(variables)
    optimizer.learning_rate = 0.0
    got = train(optimizer, variables, 1)
    assert np.array_equal(got[0], start[0])
    assert not np.allclose(got[2], start[2], atol=1e-5)


@pytest.mark.same_everywhere
def test_what_is_frozen_stays_frozen():
    variables = new_variables()
    rules = [difflr.Rule(variables[2:], multiplier=0.0, min_learning_rate=0.5)]
    plan = difflr.Plan(variables, rules)
    assert [row.min_learning_rate for row in plan.rows] == [0.0] * 4
    assert [row.frozen for row in plan.rows] == [False, False, True, True]


@pytest.mark.same_everywhere
def test_a_warm_up_after_unfreezing_is_exempt():
    model = chain()
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model, {"body": difflr.FROZEN})), loss="mse")
    fit(model)
    plan = difflr.Plan(model, [difflr.Rule("body", multiplier=0.01, min_learning_rate=0.05)])
    difflr.replan(model, plan, warmup_steps=5)
    assert model.optimizer.effective_rates()[id(model.layers[0].kernel)] == pytest.approx(0.01)  # a fifth of 0.05


@pytest.mark.same_everywhere
def test_in_products_the_higher_one_holds():
    variables = new_variables()
    plan = floored(variables) * floored(variables, 0.002) * 0.5
    assert [row.min_learning_rate for row in plan.rows] == [0.0, 0.0, 0.002, 0.002]
    assert difflr.Rule("x", min_learning_rate=0).axes == {"min_learning_rate": 0.0}
    with pytest.raises(ValueError, match="`min_learning_rate` must be a finite number >= 0"):
        difflr.Rule("x", min_learning_rate=-1)
