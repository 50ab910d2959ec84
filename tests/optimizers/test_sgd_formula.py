"""SGD is the original request's formula, step by step against numpy."""

import keras
import numpy as np
import pytest

from optimizers.steps import gradients, new_variables, ours, tensors, values

MULTIPLIERS = [1.0, 0.5, 0.1, 2.0]
RATE = 0.05


class Formula:
    """`v = momentum * v - lr * multiplier * g`, written from the original request, in double precision."""

    def __init__(self, start, momentum, nesterov, weight_decay=0.0, decay=0.0, constraints=()):
        self.weights = [value.astype("float64") for value in start]
        self.velocities = [np.zeros_like(value) for value in self.weights]
        self.momentum, self.nesterov = momentum, nesterov
        self.weight_decay, self.decay = weight_decay, decay
        self.constraints = constraints
        self.step_number = 0

    def step(self, grads):
        lr = RATE / (1 + self.decay * self.step_number)
        for i, (g, multiplier) in enumerate(zip(grads, MULTIPLIERS, strict=True)):
            p = self.weights[i]
            p = p - p * self.weight_decay * lr * multiplier
            v = self.momentum * self.velocities[i] - lr * multiplier * g
            p = p + self.momentum * v - lr * multiplier * g if self.nesterov else p + v
            self.velocities[i] = v
            self.weights[i] = self.constraints[i](p) if self.constraints else p
        self.step_number += 1


def assert_follows(optimizer, variables, formula, steps=5):
    start = values(variables)
    optimizer.build(variables)
    for grads in gradients(steps):
        optimizer.apply(tensors(grads), variables)
        formula.step(grads)
        for mine, theirs, before in zip(values(variables), formula.weights, start, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=1e-6)
            assert np.abs(mine - before).max() > 1e-3


@pytest.mark.parametrize("weight_decay", [None, 0.4])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_momentum_nesterov_and_weight_decay(momentum, nesterov, weight_decay):
    variables = new_variables()
    pairs = list(zip(variables, MULTIPLIERS, strict=True))
    optimizer = ours("SGD", pairs, RATE, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay)
    assert_follows(optimizer, variables, Formula(values(variables), momentum, nesterov, weight_decay or 0.0))


@pytest.mark.parametrize("nesterov", [False, True])
def test_decay_of_the_rate(nesterov):
    """The original's `decay`: lr / (1 + decay * iterations), today a schedule of the base rate."""
    variables = new_variables()
    schedule = keras.optimizers.schedules.InverseTimeDecay(RATE, decay_steps=1, decay_rate=0.5)
    optimizer = ours("SGD", list(zip(variables, MULTIPLIERS, strict=True)), schedule, momentum=0.9, nesterov=nesterov)
    assert_follows(optimizer, variables, Formula(values(variables), 0.9, nesterov, decay=0.5))


def max_norm(limit):
    """In numpy, column by column."""

    def constraint(p):
        norms = np.sqrt((p**2).sum(axis=0, keepdims=True))
        return p * np.clip(norms, 0, limit) / (1e-7 + norms)

    return constraint


def test_constraints_come_after_the_update():
    variables = new_variables()
    for variable in variables[::2]:
        variable.constraint = keras.constraints.MaxNorm(1.0, axis=0)
    for variable in variables[1::2]:
        variable.constraint = keras.constraints.NonNeg()
    constraints = [max_norm(1.0), lambda p: p * (p >= 0)] * 2
    optimizer = ours("SGD", list(zip(variables, MULTIPLIERS, strict=True)), RATE, momentum=0.9)
    formula = Formula(values(variables), 0.9, False, constraints=constraints)
    assert_follows(optimizer, variables, formula)
    assert all((value >= 0).all() for value in values(variables)[1::2])
    assert all(np.linalg.norm(value, axis=0).max() <= 1.0 + 1e-5 for value in values(variables)[::2])


def test_old_momentum_keeps_the_old_rate():
    """The rate stands inside the velocity: after a change of the multiplier what was gathered moves on as it was."""
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", list(zip(variables, MULTIPLIERS, strict=True)), RATE, momentum=0.9)
    first, second = gradients(2)
    optimizer.apply(tensors(first), variables)
    optimizer.multipliers[variables[2]] = 1.5
    optimizer.apply(tensors(second), variables)
    v1 = -RATE * 0.1 * first[2]
    v2 = 0.9 * v1 - RATE * 1.5 * second[2]
    np.testing.assert_allclose(values(variables)[2], start[2] + v1 + v2, rtol=2e-6, atol=1e-6)
