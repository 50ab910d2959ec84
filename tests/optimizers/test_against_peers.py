"""Parameter groups as other libraries have them: torch.optim and optax, on every backend."""

import keras
import numpy as np
import optax
import pytest
import torch

import difflr
from optimizers.steps import assert_close, gradients, new_variables, ours, slow_half, train, values

RATE, DECAY = 0.01, 0.2
SLOW_RATE, SLOW_DECAY = 0.1, 2.0
STEPS = 6

# Keras adds epsilon before the bias correction, torch and optax behind it: one this small is lost in either place. What
# is left is the rounding of float32 over six steps.
EPSILON = 1e-12
TOLERANCE = {"rtol": 5e-6, "atol": 2e-6}


def slow_rules(variables):
    return [
        difflr.Rule(variable, multiplier=SLOW_RATE, weight_decay_multiplier=SLOW_DECAY) for variable in variables[2:]
    ]


def trained_by_torch(optimizer_class, start, slow, **settings):
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    groups = [{"params": parameters[:2], "lr": RATE}, {"params": parameters[2:], **slow}]
    optimizer = optimizer_class(groups, **settings)
    for grads in gradients(STEPS):
        for parameter, grad in zip(parameters, grads, strict=True):
            parameter.grad = torch.tensor(grad)
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters]


def trained_by_optax(fast, slow, start):
    labels = ["fast", "fast", "slow", "slow"]
    transform = optax.partition({"fast": fast, "slow": slow}, labels)
    parameters = list(start)
    state = transform.init(parameters)
    for grads in gradients(STEPS):
        updates, state = transform.update(grads, state, parameters)
        parameters = optax.apply_updates(parameters, updates)
    return [np.asarray(parameter) for parameter in parameters]


def test_adamw_is_torchs_with_two_groups():
    variables = new_variables()
    start = values(variables)
    got = train(ours("AdamW", slow_rules(variables), RATE, weight_decay=DECAY, epsilon=EPSILON), variables, STEPS)
    slow = {"lr": RATE * SLOW_RATE, "weight_decay": DECAY * SLOW_DECAY}
    assert_close(got, trained_by_torch(torch.optim.AdamW, start, slow, weight_decay=DECAY, eps=EPSILON), **TOLERANCE)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_torchs_with_two_groups(nesterov):
    """torch keeps the rate outside its buffer; while no rate changes that is the same."""
    variables = new_variables()
    start = values(variables)
    got = train(ours("SGD", slow_half(variables), RATE, momentum=0.9, nesterov=nesterov), variables, STEPS)
    slow = {"lr": RATE * 0.1}
    expected = trained_by_torch(torch.optim.SGD, start, slow, lr=RATE, momentum=0.9, nesterov=nesterov)
    assert_close(got, expected, **TOLERANCE)


def test_adamw_is_optaxs_with_a_transform_for_each_group():
    variables = new_variables()
    start = values(variables)
    got = train(ours("AdamW", slow_rules(variables), RATE, weight_decay=DECAY, epsilon=EPSILON), variables, STEPS)
    fast = optax.adamw(RATE, eps=EPSILON, weight_decay=DECAY)
    slow = optax.adamw(RATE * SLOW_RATE, eps=EPSILON, weight_decay=DECAY * SLOW_DECAY)
    assert_close(got, trained_by_optax(fast, slow, start), **TOLERANCE)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_optaxs_with_a_transform_for_each_group(nesterov):
    variables = new_variables()
    start = values(variables)
    got = train(ours("SGD", slow_half(variables), RATE, momentum=0.9, nesterov=nesterov), variables, STEPS)
    fast, slow = (optax.sgd(rate, momentum=0.9, nesterov=nesterov) for rate in (RATE, RATE * 0.1))
    assert_close(got, trained_by_optax(fast, slow, start), **TOLERANCE)


def test_frozen_is_optaxs_set_to_zero():
    variables = new_variables()
    start = values(variables)
    got = train(ours("AdamW", slow_half(variables, difflr.FROZEN), RATE, epsilon=EPSILON), variables, STEPS)
    fast = optax.adamw(RATE, eps=EPSILON, weight_decay=keras.optimizers.AdamW().weight_decay)
    assert_close(got, trained_by_optax(fast, optax.set_to_zero(), start), **TOLERANCE)


def test_scaled_rate_schedule_is_optaxs():
    """A schedule of the base rate times a constant: what optax writes as one schedule for each group."""
    variables = new_variables()
    start = values(variables)
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1, 3], [RATE, RATE / 2, RATE / 8])
    got = train(ours("Adam", slow_half(variables), schedule, epsilon=EPSILON), variables, STEPS)

    def scheduled(factor):  # optax counts as Keras does, but changes at a boundary where Keras changes behind it
        steps = optax.piecewise_constant_schedule(RATE * factor, {2: 0.5, 4: 0.25})
        return optax.adam(steps, eps=EPSILON)

    assert_close(got, trained_by_optax(scheduled(1.0), scheduled(0.1), start), **TOLERANCE)
