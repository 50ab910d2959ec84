"""Hyperparameters in rules, plans and their JSON."""

import json
import pickle

import keras
import pytest

import difflr
from difflr import Plan, Rule

pytestmark = pytest.mark.same_everywhere
RISING = keras.optimizers.schedules.PolynomialDecay(0.8, 10, 0.9)


@pytest.fixture(scope="module")
def model():
    layers = [keras.layers.Dense(4, name="body"), keras.layers.Dense(2, name="head")]
    return keras.Sequential([keras.Input((3,)), *layers])


def own(plan):
    return {row.path: dict(row.hyperparameters) for row in plan.rows}


def test_each_name_is_an_axis_of_its_own(model):
    rules = [
        Rule("*", hyperparameters={"momentum": 0.9, "weight_decay": 0.1}),
        Rule("body", hyperparameters={"momentum": 0.5}),
        Rule("*/bias", hyperparameters={"weight_decay": None}),
        Rule("head/kernel", multiplier=0.5),
    ]
    plan = Plan(model, rules)
    assert own(plan) == {
        "body/kernel": {"momentum": 0.5, "weight_decay": 0.1},
        "body/bias": {"momentum": 0.5},
        "head/kernel": {"momentum": 0.9, "weight_decay": 0.1},
        "head/bias": {"momentum": 0.9},
    }
    assert len(plan.groups) == 4
    assert plan.rows[0].decided == {"momentum": "rule 2: 'body'", "weight_decay": "rule 1: '*'"}


def test_frozen_rows_have_none(model):
    plan = Plan(model, [Rule("*", hyperparameters={"momentum": 0.5}), Rule("body", frozen=True)])
    assert own(plan)["body/kernel"] == {}
    assert own(Plan(model, [Rule("*", hyperparameters={"momentum": 0.5})]) * 0) == {path: {} for path in own(plan)}
    with pytest.raises(ValueError, match=r"has no effect: everything it matches is frozen by rule 1: 'body'"):
        Plan(model, [Rule("body", frozen=True), Rule("body", hyperparameters={"momentum": 0.5})])


def test_json_and_table(model):
    rules = [Rule("body", hyperparameters={"momentum": RISING, "clipnorm": 1.0}, min_learning_rate=1e-5)]
    plan = Plan(model, rules)
    again = Plan.from_json(model, plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()
    assert again != Plan(
        model, [Rule("body", hyperparameters={"momentum": 0.8, "clipnorm": 1.0}, min_learning_rate=1e-5)]
    )
    for text in ("PolynomialDecay", "clipnorm", "1e-05"):
        assert text in plan.table()
        assert text in plan.table(full=True)
    assert "hyperparameters" not in Plan(model, {"body": 0.5}).to_json()  # who has none pays nothing


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("hyperparameters", {"momentum": "0.5"}, "The hyperparameter 'momentum' is a finite number"),
        ("hyperparameters", {"momentum": 7}, "'momentum' is a number from 0 to 1. Received: 7"),
        ("hyperparameters", {"momentum": {"class_name": "Dense"}}, "must be a LearningRateSchedule"),
        ("hyperparameters", {"learning_rate": 1}, "`hyperparameters` cannot hold 'learning_rate'"),
        ("hyperparameters", [0.5], "has no valid 'hyperparameters'"),
        ("min_learning_rate", -1, "`min_learning_rate` must be a finite number >= 0"),
        ("min_learning_rate", "1", "has no valid 'min_learning_rate'"),
    ],
)
def test_damaged_json(model, field, value, message):
    data = json.loads(Plan(model, {"body": 0.5}).to_json())
    data["rows"][0][field] = value
    with pytest.raises(ValueError, match=message):
        Plan.from_json(model, json.dumps(data))


def test_products(model):
    momenta = Plan(model, [Rule("body", hyperparameters={"momentum": 0.5})])
    decays = Plan(model, [Rule("*", multiplier=0.5, hyperparameters={"weight_decay": 0.1})])
    both = momenta * decays
    assert own(both)["body/kernel"] == {"momentum": 0.5, "weight_decay": 0.1}
    assert own(both)["head/kernel"] == {"weight_decay": 0.1}
    assert both == decays * momenta
    assert own(momenta * momenta) == own(momenta * 2) == own(momenta)
    other = Plan(model, [Rule("body", hyperparameters={"momentum": 0.25})])
    with pytest.raises(
        ValueError, match=r"disagree about a hyperparameter of body/kernel: momentum 0.5 \(rule 1: 'body'\)"
    ):
        momenta * other


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "must map names of the optimizer's arguments"),
        ([("momentum", 1)], "must map names of the optimizer's arguments"),
        ({"momentum": True}, "a finite number, a keras.optimizers.schedules"),
        ({"momentum": float("nan")}, "a finite number, a keras.optimizers.schedules"),
        ({"momentum": lambda step: 0.5}, "derive it from LearningRateSchedule"),
        ({"momentum": 1.1}, "is a number from 0 to 1. Received: 1.1"),
        ({"beta_2": 1.0}, "is a number from 0 to below 1"),
        ({"clipnorm": 0}, "is a number above 0"),
        ({"weight_decay": -1}, "is a number >= 0"),
        ({"betas": (0.9, 0.9)}, "they are `beta_1` and `beta_2`"),
        ({"lr": 0.1}, "set `learning_rate` or `multiplier` of the rule"),
        ({"two words": 1}, "must be arguments of the optimizer"),
    ],
)
def test_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Rule("body", hyperparameters=values)


def test_a_mapping_says_where_they_go():
    with pytest.raises(
        ValueError, match="sets 'momentum', which no rule can set. Arguments of the optimizer go in `hyperp"
    ):
        Rule.of("body", {"momentum": 0.9})


def test_rules_are_values():
    rule = Rule("body", hyperparameters={"momentum": 0.9}, min_learning_rate=0.1)
    assert rule == pickle.loads(pickle.dumps(rule))
    assert rule == Rule.of("body", {"hyperparameters": {"momentum": 0.9}, "min_learning_rate": 0.1})
    assert rule != Rule("body", hyperparameters={"momentum": 0.8}, min_learning_rate=0.1)


def test_saved_with_an_optimizer_that_is_not_built(model):
    rules = [Rule(model.layers[0], hyperparameters={"momentum": RISING, "clipnorm": 0.5}, min_learning_rate=0.1)]
    optimizer = difflr.optimizers.SGD(0.1, momentum=0.9, multipliers=rules)
    again = difflr.optimizers.SGD.from_config(json.loads(json.dumps(optimizer.get_config())))
    again.build(model.trainable_variables)
    assert [row.min_learning_rate for row in again.plan.rows] == [0.1, 0.1, 0, 0]
    assert list(again.plan.rows[0].hyperparameters) == ["clipnorm", "momentum"]


def test_a_shared_variable_has_one(model):
    layer = keras.layers.Dense(3, name="shared")
    inner = [keras.Sequential([keras.Input((3,)), layer], name=name) for name in ("a", "b")]
    shared = keras.Sequential([keras.Input((3,)), *inner])
    with pytest.raises(ValueError, match=r"claimed twice with different values of `momentum`"):
        Plan(shared, [Rule("a/*", hyperparameters={"momentum": 0.5})])
