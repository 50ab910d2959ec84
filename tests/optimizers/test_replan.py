"""A plan replaced: by model and variable, in any callback, and refused before anything changes."""

import keras
import numpy as np
import pytest

import difflr
from difflr import FROZEN, Plan
from difflr.optimizers import Adam
from phases.in_phases import BATCH, X, Y, assert_same, compiled, fit, number, state

pytestmark = pytest.mark.usefixtures("eager_steps", "quick_compilation")


def chain(**arguments):
    model = keras.Sequential([keras.Input((4,)), *(keras.layers.Dense(4, activation="tanh") for _ in range(3))])
    model.compile(Adam(0.01, **arguments), loss="mse")
    model.fit(X, X, epochs=2, verbose=0)
    return model


def momentum(model, layer):
    entries = model.optimizer.state_entries()
    return number(entries[model.optimizer.plan.row(layer.kernel).place, "_momentums"])


@pytest.mark.parametrize("frozen", [False, True])
def test_a_new_layer_in_an_old_place_starts_fresh_and_the_old_one_keeps_its_state(frozen):
    model = chain()
    *_, last = model.layers
    before = momentum(model, last)
    if frozen:
        difflr.replan(model, Plan(model, {last: FROZEN}))
    model.pop()
    model.add(keras.layers.Dense(4))
    new = model.layers[-1]
    model.add(last)
    difflr.replan(model, Plan(model))
    assert before.any()
    np.testing.assert_array_equal(momentum(model, last), before)
    assert not momentum(model, new).any()
    assert model.optimizer.late_start(new.kernel).behind == 2
    assert model.optimizer.late_start(last.kernel).behind == 0
    model.fit(X, X, verbose=0)
    assert momentum(model, new).any()


@pytest.mark.same_everywhere
def test_another_model_around_old_layers():
    model = chain()
    before = momentum(model, model.layers[0])
    other = keras.Sequential([keras.Input((4,)), *model.layers[:2], keras.layers.Dense(2)])
    model.optimizer.replan(Plan(other))
    other.compile(model.optimizer, loss="mse")
    np.testing.assert_array_equal(momentum(other, other.layers[0]), before)
    other.fit(X, Y, verbose=0)


@pytest.mark.same_everywhere
def test_adapters_join_an_optimizer_that_was_made_without_a_plan():
    model = chain()
    first, second, _ = model.layers
    first.enable_lora(2)
    before = momentum(model, second)
    difflr.replan(model, Plan(model))
    np.testing.assert_array_equal(momentum(model, second), before)
    model.fit(X, X, verbose=0)
    assert number(first.lora_kernel_b).any()


def test_variables_in_another_order_are_those_of_the_model():
    runs = []
    for variables in (list, lambda known: known[::-1]):
        model = compiled()
        fit(model, epochs=1)
        difflr.replan(model, Plan(variables(model.trainable_variables)))
        fit(model, epochs=1)
        runs.append(model.get_weights())
    assert_same(*runs)


def grown(model):
    low = model.get_layer("low")
    plan = Plan(model, [(low.kernel, FROZEN)])
    low.enable_lora(2)
    return plan


REFUSED = {
    "another model": (lambda model: Plan(compiled()), {}, "belongs to another model"),
    "a part": (lambda model: Plan(model.get_layer("low")), {}, "Only in the model: head/bias"),
    "made before the model grew": (grown, {}, "Only in the model: low/lora_kernel_a"),
    "warm-up": (Plan, {"warmup_steps": -1}, "warmup_steps"),
    "warm-up of halves": (Plan, {"warmup_steps": 2.5}, "must be an integer"),
    "bias correction": (Plan, {"own_bias_correction": "no"}, "must be True or False"),
}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_changes_nothing(what):
    make, arguments, message = REFUSED[what]
    model = compiled()
    fit(model, epochs=1)
    plan, before = make(model), state(model)
    with pytest.raises(ValueError, match=message):
        difflr.replan(model, plan, **arguments)
    assert_same(state(model), before)
    assert difflr.plan_of(model).row(model.get_layer("low").bias).multiplier == 0.1


@pytest.mark.same_everywhere
def test_rates_for_the_base_rate_of_today():
    model = compiled()
    model.optimizer.learning_rate = 0.002
    difflr.replan(model, Plan(model, [difflr.Rule("low", learning_rate=0.001)], learning_rate=0.002))
    assert difflr.plan_of(model).row(model.get_layer("low").kernel).multiplier == 0.5


EVENTS = ("test_begin", "test_batch_begin", "test_batch_end", "predict_begin", "predict_batch_end")


@pytest.mark.parametrize("event", EVENTS)
def test_evaluation_and_prediction_go_on(event):
    model = compiled()
    call = model.evaluate if "test" in event else model.predict
    arguments = {"x": X, "batch_size": BATCH, "verbose": 0} | ({"y": Y} if "test" in event else {})
    expected = call(**arguments)
    callback = keras.callbacks.Callback()
    setattr(callback, f"on_{event}", lambda *_, **__: difflr.replan(model, Plan(model, {"low": FROZEN})))
    np.testing.assert_array_equal(call(**arguments, callbacks=[callback]), expected)
    assert len(model.trainable_variables) == 4
