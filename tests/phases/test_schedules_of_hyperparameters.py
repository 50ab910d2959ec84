"""From when the schedules of hyperparameters count that a phase sets."""

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase
from difflr.schedules import OneCycle
from phases.in_phases import fit, new_model


def with_momentum(rules=None):
    model = new_model()
    plan = difflr.Plan(model, rules)
    model.compile(difflr.optimizers.SGD(0.125, momentum=0.5, multipliers=plan), loss="mse")
    return model


@pytest.mark.same_everywhere
def test_a_momentum_cycle_begins_again_with_each_phase():
    cycle = keras.optimizers.schedules.PolynomialDecay(0.5, 3, end_learning_rate=0.9)
    rule = difflr.Rule("*", hyperparameters={"momentum": cycle})
    twice = difflr.Rule("*", hyperparameters={"momentum": difflr.schedules.Joined([cycle, cycle], [3])})
    model, other = with_momentum(), with_momentum(twice)
    fit(model, [Phase("*", epochs=1, multipliers=rule), Phase("*", multipliers=rule)], epochs=2)
    fit(other, epochs=2)
    for weight, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_schedules_of_a_variable_that_count_from_different_steps_are_refused():
    cycle = difflr.Rule("*", hyperparameters={"momentum": OneCycle(1.0, 6).momentum()})
    model = with_momentum(difflr.Rule("*", schedule=OneCycle(1.0, 12)))
    with pytest.raises(ValueError, match=r"Phase 2 has a schedule for the momentum of low/kernel.* its learning rate"):
        fit(model, [Phase("head", epochs=1), Phase("*", multipliers=cycle)])
    with pytest.raises(ValueError, match=r"Phase 1 has a schedule for the learning rate of head/kernel.* its momentum"):
        fit(with_momentum(cycle), [Phase("head", epochs=1, schedule=OneCycle(1.0, 3)), Phase("*")])
