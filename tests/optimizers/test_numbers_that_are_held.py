"""Multipliers that Keras's float type cannot hold would be no rate at all, or an infinite one."""

import re

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers import SGD
from difflr.optimizers.groups import Groups
from difflr.optimizers.state_by_place import LateStart


def network():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, name="body"), keras.layers.Dense(2, name="head")])


def fitted(optimizer, model):
    model.compile(optimizer, loss="mse", run_eagerly=True)
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    return optimizer


@pytest.mark.parametrize(("number", "effect"), [(1e-50, "0, without effect"), (1e39, "infinite")])
def test_a_multiplier_beyond_the_float_type(number, effect):
    model = network()
    optimizer = SGD(0.1, multipliers=difflr.Plan(model, {"body": number, "head/bias": difflr.FROZEN}))
    with pytest.raises(
        ValueError, match=f"The multiplier of body/kernel is {re.escape(str(number))}.*float32 holds.*would be {effect}"
    ):
        optimizer.build(model.trainable_variables)
    assert not optimizer.built


def test_a_multiplier_that_is_set():
    model = network()
    optimizer = fitted(SGD(0.1, multipliers=difflr.Plan(model, {"body": 0.5})), model)
    for number in (1e-60, 1e39):
        with pytest.raises(ValueError, match="The multiplier of body/kernel"):
            optimizer.multipliers[model.get_layer("body")] = number
    assert optimizer.multipliers[model.get_layer("body").kernel] == 0.5


def test_half_precision(monkeypatch):
    monkeypatch.setattr(keras.config, "floatx", lambda: "float16")
    model = network()
    with pytest.raises(ValueError, match="float16 holds numbers from 6e-08 to 6.6e"):
        SGD(0.1, multipliers=difflr.Plan(model, {"body": 1e-8})).build(model.trainable_variables)


def test_products_and_powers_that_vanish():
    model = network()
    small = difflr.Plan(model, {"body": 1e-200})
    with pytest.raises(ValueError, match="out of the float range: 1e-200"):
        small * small
    ones = {"kernel_initializer": "ones", "bias_initializer": keras.initializers.Constant(0.3)}
    deep = keras.Sequential([keras.Input((3,)), *[keras.layers.Dense(3, **ones) for _ in range(4)]])
    with pytest.raises(ValueError, match="underflows to 0"):
        difflr.layerwise_decay(deep, 1e-200)


def test_summary_counts_schedules_in():
    model = network()
    halved = keras.optimizers.schedules.ExponentialDecay(1.0, 1, 0.5)
    optimizer = SGD(0.1, multipliers=difflr.Plan(model, {"body": halved}))
    for _ in range(5):
        fitted(optimizer, model)
    said = []
    optimizer.summary(said.append)
    assert "0.00313" in said[0]  # 0.1 * 0.5 ** 5


@pytest.mark.same_everywhere(but=["None"])
@pytest.mark.parametrize("accumulation", [None, 4])
def test_a_group_schedule_has_the_clock_of_the_base_rate(accumulation):
    """Keras's schedules count batches, accumulated or not."""
    ramp = keras.optimizers.schedules.PolynomialDecay(1.0, 16, 0.2)
    seen = []
    for in_group in (False, True):
        variable = keras.Variable(np.zeros(1, "float32"))
        settings = {"multipliers": [difflr.Rule(variable, schedule=ramp)]} if in_group else {}
        optimizer = SGD(1.0 if in_group else ramp, gradient_accumulation_steps=accumulation, **settings)
        optimizer.build([variable])
        for _ in range(16):
            optimizer.apply([keras.ops.ones((1,))], [variable])
            seen.append(float(keras.ops.convert_to_numpy(variable)[0]))
    np.testing.assert_allclose(seen[16:], seen[:16], rtol=1e-6)
    assert seen[-1] < -1


def test_who_joins_late_warms_up_by_updates_and_its_schedule_counts_batches():
    """With two batches in an update: batch 3 belongs to the second update of four."""
    ramp = keras.optimizers.schedules.PolynomialDecay(1.0, 8, 0.0)
    for schedule, factor in ((None, 1.0), (ramp, 1 - 3 / 8)):
        variable = keras.Variable(np.ones(2, "float32"), name="late")
        plan = difflr.Plan([variable], [(variable, schedule)] if schedule else None)
        optimizer = difflr.optimizers.SGD(1.0, multipliers=plan, gradient_accumulation_steps=2)
        optimizer.build([variable])
        groups = Groups(plan, [variable], optimizer, {plan.rows[0].place: LateStart(warmup_steps=4)})
        for _ in range(3):
            optimizer.apply([keras.ops.zeros(2)], [variable])
        assert float(keras.ops.convert_to_numpy(groups.factors()[0])) == pytest.approx(0.5 * factor)
