import json

import keras
import pytest

import difflr
from plan import models_of_all_kinds as kinds

RULES = {"backbone": 0.1, "backbone/inner/bn": difflr.FROZEN, "*/bias": {"multiplier": 2, "weight_decay_multiplier": 0}}


@pytest.mark.parametrize("kind", kinds.ALL)
def test_json_both_ways(kind):
    model = kinds.ALL[kind]()
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    plan = difflr.Plan(model, [("*kernel", 0.1), (model.layers[-1], schedule)])
    again = difflr.Plan.from_json(model, plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()


def test_json_for_another_model_of_the_same_layers():
    plan = difflr.Plan(kinds.nested(), RULES)
    other = kinds.nested()
    bound = difflr.Plan.from_json(other, plan.to_json())
    assert bound == plan
    bound.freeze()
    assert not other.get_layer("backbone").get_layer("inner").get_layer("bn").trainable


def test_a_changed_model_is_reported():
    text = difflr.Plan(kinds.nested(), RULES).to_json()
    inner = keras.Sequential(
        [keras.layers.Dense(4, name="a"), keras.layers.BatchNormalization(name="bn")], name="inner"
    )
    bare = keras.layers.BatchNormalization(scale=False, center=False, name="bare")
    backbone = keras.Sequential([keras.layers.Dense(4, name="stem"), inner, bare], name="backbone")
    changed = keras.Sequential(
        [keras.Input((4,)), backbone, keras.layers.Dense(5, name="head"), keras.layers.Dense(1, name="more")]
    )
    with pytest.raises(
        ValueError, match=r"(?s)6 variables match.*not in the plan: more/kernel.*head/kernel was \(4, 2\)"
    ):
        difflr.Plan.from_json(changed, text)


def altered(**changes):
    config = json.loads(difflr.Plan(kinds.nested(), RULES).to_json())
    for key, value in changes.items():
        if key in config:
            config[key] = value
        else:
            config["rows"][0][key] = value
    return json.dumps(config)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not the JSON text of a plan"),
        ("[" * 100_000, "not the JSON text of a plan"),
        ("[]", "not a plan of difflr"),
        (altered(format="difflr plan 99"), "expected the format"),
        (altered(rows={}), "rows"),
        (altered(rows=[3]), "Row 0"),
        (altered(multiplier=float("nan")), "multiplier"),
        (altered(multiplier=-1), "multiplier"),
        (altered(multiplier="0.1"), "multiplier"),
        (altered(multiplier=True), "multiplier"),
        (altered(path=3), "path"),
        (altered(frozen_statistics="maybe"), "frozen_statistics"),
        (altered(frozen=True), "contradicts"),
    ],
)
def test_hostile_text(text, message):
    with pytest.raises(ValueError, match=message):
        difflr.Plan.from_json(kinds.nested(), text)


@pytest.mark.parametrize(
    "schedule",
    [
        {"module": "keras.layers", "class_name": "Lambda", "config": {"function": "x"}, "registered_name": None},
        {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
        {"module": "builtins", "class_name": "__lambda__", "config": {"value": "x"}, "registered_name": None},
        {},
    ],
)
def test_a_schedule_that_is_none_is_never_built(schedule):
    with pytest.raises(ValueError, match="schedule"):
        difflr.Plan.from_json(kinds.nested(), altered(schedule=schedule))


def test_only_text_is_read():
    with pytest.raises(TypeError, match="JSON is text"):
        difflr.Plan.from_json(kinds.nested(), {"format": "difflr plan 1"})
