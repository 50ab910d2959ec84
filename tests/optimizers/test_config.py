"""An optimizer as plain data, and back."""

import json

import keras
import pytest

import difflr
from difflr.optimizers import SGD
from optimizers.steps import NAMES, assert_same, chain, decay_arguments, new_variables, ours, slow_half, train, values


def through_json(optimizer):
    return json.loads(json.dumps(keras.saving.serialize_keras_object(optimizer)))


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", NAMES)
def test_round_trip_trains_alike(name):
    """Fresh variables of the same names: what the data says is all the new optimizer has."""
    settings = {**dict.fromkeys(decay_arguments(name), 0.3), "global_clipnorm": 0.7}
    variables, again = new_variables(), new_variables()
    rules = [
        difflr.Rule(variables[0], multiplier=0.1),
        difflr.Rule(variables[1], weight_decay_multiplier=0.5),
        difflr.Rule(variables[3], frozen=True),
    ]
    optimizer = ours(name, rules, weight_decay_follows="base_rate", **settings)
    optimizer.build(variables)
    copy = keras.saving.deserialize_keras_object(through_json(optimizer))
    assert type(copy) is type(optimizer)
    assert copy.get_config() == optimizer.get_config()
    assert_same(train(copy, again), train(optimizer, variables))
    assert copy.get_config() == optimizer.get_config()
    assert copy.plan == optimizer.plan


@pytest.mark.parametrize("number", [0.1, 1e-5, 0.3, 1 / 3, 2.0, 0.05])
def test_numbers_stay_what_was_written(number):
    """0.1 is not 0.10000000149, the number that the state holds."""
    variables = new_variables()
    optimizer = ours("Adam", slow_half(variables, number))
    optimizer.build(variables)
    config = optimizer.get_config()["multipliers"]
    assert [row["multiplier"] for row in config["plan"]["rows"]] == [1.0, 1.0, number, number]
    again = new_variables()
    copy = difflr.optimizers.Adam.from_config(optimizer.get_config())
    copy.build(again)
    assert list(copy.multipliers.values()) == [1.0, 1.0, number, number]


@pytest.mark.parametrize("number", [0.7, 0.05, 1e-3])
def test_a_number_that_was_set_is_in_the_data(number):
    variables, again = new_variables(), new_variables()
    optimizer = ours("SGD", list(zip(variables, [0.1, 0.2, 0.3, 0.4], strict=True)))
    optimizer.build(variables)
    optimizer.multipliers[variables[1]] = number
    copy = SGD.from_config(json.loads(json.dumps(optimizer.get_config())))
    copy.build(again)
    assert list(copy.multipliers.values()) == [0.1, number, 0.3, 0.4]
    assert list(copy.plan.multipliers.values()) == [0.1, number, 0.3, 0.4]


@pytest.mark.parametrize("multipliers", [None, 0.5])
def test_unbuilt(multipliers):
    optimizer = SGD(0.1, momentum=0.9, multipliers=multipliers)
    copy = SGD.from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()
    assert_same(train(copy, new_variables()), train(optimizer, new_variables()))


def test_unbuilt_with_a_plan():
    model, again = chain(), chain()
    optimizer = SGD(0.1, multipliers=difflr.Plan(model, {"body": 0.1, "head/bias": difflr.FROZEN}))
    copy = SGD.from_config(optimizer.get_config())
    copy.build(again.trainable_variables)
    assert list(copy.multipliers.values()) == [0.1, 0.1, 1.0, 0.0]
    assert not again.get_layer("head").bias.trainable


def test_unbuilt_with_variables_as_targets():
    variables = new_variables()
    optimizer = SGD(0.1, multipliers=slow_half(variables))
    copy = SGD.from_config(json.loads(json.dumps(optimizer.get_config())))
    assert_same(train(copy, new_variables()), train(optimizer, variables))


def test_unbuilt_with_a_function_says_what_to_do():
    variables = new_variables()
    optimizer = SGD(multipliers=lambda variable: 0.1)
    with pytest.raises(ValueError, match=r"cannot be saved before the variables are known\. Build the optimizer first"):
        optimizer.get_config()
    optimizer.build(variables)
    assert json.dumps(optimizer.get_config())


def test_a_function_is_saved_as_what_it_said():
    variables, again = new_variables(), new_variables()
    optimizer = SGD(multipliers=lambda variable: 0.1 if "slow" in variable.name else 1.0)
    optimizer.build(variables)
    copy = SGD.from_config(optimizer.get_config())
    copy.build(again)
    assert list(copy.multipliers.values()) == [1.0, 1.0, 0.1, 0.1]


def test_schedules_of_base_rate_and_group():
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0, 1], [0.5, 0.2, 0.1])
    cosine = keras.optimizers.schedules.CosineDecay(1.0, 10)
    variables, again = new_variables(), new_variables()
    optimizer = ours("SGD", [(variables[0], {"multiplier": 0.1, "schedule": cosine})], schedule)
    optimizer.build(variables)
    copy = keras.saving.deserialize_keras_object(through_json(optimizer))
    assert_same(train(copy, again), train(optimizer, variables))
    rows = copy.plan.rows
    assert [type(row.schedule) for row in rows] == [type(cosine), *[type(None)] * 3]


def test_config_in_a_loss_scale_optimizer():
    variables, again = new_variables(), new_variables()
    optimizer = keras.optimizers.LossScaleOptimizer(ours("SGD", slow_half(variables)), initial_scale=4.0)
    optimizer.build(variables)
    copy = keras.saving.deserialize_keras_object(through_json(optimizer))
    copy.build(again)
    assert list(copy.inner_optimizer.multipliers.values()) == [1.0, 1.0, 0.1, 0.1]


def test_keras_optimizers_get_and_deserialize():
    config = keras.optimizers.serialize(ours("Adam", 0.5))
    assert config["registered_name"] == "difflr>Adam"
    assert type(keras.optimizers.deserialize(config)) is difflr.optimizers.Adam
    assert type(keras.optimizers.get(config)) is difflr.optimizers.Adam
    assert type(keras.optimizers.get("adam")) is type(keras.optimizers.Adam())


def test_plan_for_variables_that_do_not_fit():
    variables = new_variables()
    optimizer = ours("SGD", slow_half(variables))
    optimizer.build(variables)
    copy = SGD.from_config(optimizer.get_config())
    others = [keras.Variable(value, name=v.name) for v, value in zip(variables, values(variables), strict=True)][:3]
    with pytest.raises(ValueError, match=r"does not fit this model.*\n.*In the plan but not in the model: slow_bias"):
        copy.build([*others, keras.Variable([0.0], name="new")])


def test_fused_is_yes_or_no():
    with pytest.raises(ValueError, match="`fused` must be True or False. Received: 'no'"):
        ours("SGD", None, fused="no")


@pytest.mark.same_everywhere
def test_saved_rules_that_match_nothing_name_their_variables():
    """Rules about layers are kept by `variable.path`, which has the name of a Sequential model."""
    models = [
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="one")], name=name)
        for name in ("here", "there")
    ]
    saved = difflr.optimizers.Adam(0.1, multipliers={models[0].layers[0]: 0.1}).get_config()
    other = difflr.optimizers.Adam.from_config(saved)
    with pytest.raises(
        ValueError, match=r"The rule for the saved `variable.path` here/one/bias, here/one/kernel matches"
    ):
        other.build(models[1].trainable_variables)
