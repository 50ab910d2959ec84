"""What the single optimizers can be told, and other precisions: nothing of it is lost with multipliers."""

import warnings

import keras
import numpy as np
import pytest

from optimizers.steps import (
    BACKEND,
    BASE,
    SLOW,
    assert_all_differ,
    assert_same,
    knows,
    new_variables,
    ours,
    product,
    slow_half,
    stock,
    train,
    values,
)

OPTIONS = [
    ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}),
    ("Adam", {"amsgrad": True, "beta_1": 0.8}),
    ("AdamW", {"amsgrad": True, "beta_2": 0.9}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "rho": 0.8}),
    ("Adadelta", {"rho": 0.8, "epsilon": 1e-3}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
    ("Adamax", {"beta_1": 0.8, "beta_2": 0.9}),
    ("Nadam", {"beta_1": 0.8, "beta_2": 0.9}),
    ("Lion", {"beta_1": 0.8, "beta_2": 0.9}),
    ("Ftrl", {"l1_regularization_strength": 0.01, "l2_regularization_strength": 0.1, "beta": 0.2}),
    ("Ftrl", {"l2_shrinkage_regularization_strength": 0.1, "learning_rate_power": -0.3}),
    ("Adafactor", {"relative_step": False}),
    ("Muon", {"nesterov": False, "rms_rate": None}),
    ("Muon", {"exclude_layers": ["slow_kernel"]}),
]


def assert_halves(name, settings, dtype=None):
    """Ones are the stock optimizer, a slow half moves as with a slow one, in `dtype`."""

    def fresh():
        variables = new_variables()
        if dtype is None:
            return variables
        return [
            keras.Variable(value, dtype=dtype, name=v.name)
            for v, value in zip(variables, values(variables), strict=True)
        ]

    at_base = train(stock(name, **settings), fresh())
    at_slow = train(stock(name, product(BASE, SLOW), **settings), fresh())
    assert_same(train(ours(name, None, **settings), fresh()), at_base)
    variables = fresh()
    got = train(ours(name, slow_half(variables), **settings), variables)
    assert_same(got, at_base[:2] + at_slow[2:])
    return at_base, at_slow


OPTIONS = [(name, settings) for name, settings in OPTIONS if knows(name, *settings)]


@pytest.mark.same_everywhere(
    but=["Adam-amsgrad-beta_1", "RMSprop-centered-momentum-rho", "Adafactor-relative_step", "Muon-exclude_layers"]
)
@pytest.mark.parametrize(("name", "settings"), OPTIONS, ids=[f"{n}-{'-'.join(s)}" for n, s in OPTIONS])
def test_options(name, settings):
    assert_all_differ(*assert_halves(name, settings))


@pytest.mark.same_everywhere(but=["Adam"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "Lion"])
def test_half_precision(name):
    assert_halves(name, {"weight_decay": 0.1}, dtype="bfloat16")


def test_what_torch_cuts_in_pieces_is_the_same(monkeypatch):
    """On a CPU torch's pass works on pieces that fit in the cache: here each variable is one."""
    if BACKEND == "torch":
        monkeypatch.setattr("difflr.optimizers.torch_passes.step.CPU_PIECE", 1)
    assert_halves("Nadam", {"weight_decay": 0.1})
    assert_halves("RMSprop", {"centered": True, "momentum": 0.9})


def test_a_missing_gradient_moves_nothing_else():
    """Keras warns and leaves the variable out; the others keep their own rates."""
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", list(zip(variables, [1.0, 0.1, 0.2, 0.3], strict=True)), 1.0)
    grads = [None, *[keras.ops.ones(variable.shape) for variable in variables[1:]]]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        optimizer.apply(grads, variables)
    assert any("Gradients do not exist for variables" in str(warning.message) for warning in caught)
    for now, before, move in zip(values(variables), start, [0, 0.1, 0.2, 0.3], strict=True):
        np.testing.assert_allclose(before - now, np.full(now.shape, move), atol=1e-6)


def test_fewer_variables_in_another_order():
    """A step may be about some of the variables; each keeps its own rate."""
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", list(zip(variables, [1.0, 0.1, 0.2, 0.3], strict=True)), 1.0)
    optimizer.build(variables)
    chosen = [variables[3], variables[1]]
    optimizer.apply([keras.ops.ones(variable.shape) for variable in chosen], chosen)
    for now, before, move in zip(values(variables), start, [0, 0.1, 0, 0.3], strict=True):
        np.testing.assert_allclose(before - now, np.full(now.shape, move), atol=1e-6)
