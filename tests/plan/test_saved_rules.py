import json

import keras
import pytest

import difflr
from difflr.plan.saved_rules import rules_from_config, rules_to_config

pytestmark = pytest.mark.same_everywhere


def body():
    parts = [keras.layers.Dense(3, name="a"), keras.layers.ReLU(name="relu"), keras.layers.Dense(2, name="head")]
    return keras.Sequential([keras.Input((4,)), *parts], name="body")


def test_rules_as_data_mean_the_same_to_a_clone():
    model = body()
    first, relu, head = model.layers
    rules = [
        difflr.Rule(difflr.everything_but([head, "kind:bias"]), schedule=difflr.schedules.Constant(0.5)),
        difflr.Rule([first, relu, head.bias], weight_decay_multiplier=0.0, name="some"),
        *(difflr.Rule(layer, multiplier=0.25) for layer in (first, relu)),
        difflr.Rule(head, learning_rate=0.01, schedule=difflr.schedules.WarmupCosine(1.0, 10)),
    ]
    again = rules_from_config(json.loads(json.dumps(rules_to_config(rules))))
    clone = keras.models.clone_model(model)
    plan, other = (
        difflr.Plan(variables, given, learning_rate=0.08)
        for variables, given in ((model.trainable_variables, rules), (clone.trainable_variables, again))
    )
    assert plan == other
    assert [row.multiplier for row in plan.rows] == [0.25, 0.25, 0.125, 0.125]
    assert [row.name for row in plan.rows] == ["some", "some", "", "some"]


def test_what_cannot_be_saved_and_what_cannot_be_read():
    for target in (lambda variable: True, keras.layers.Dense, keras.layers.Dense(2)):
        with pytest.raises(ValueError, match="cannot be saved before the optimizer is built"):
            rules_to_config([difflr.Rule(["*", target], multiplier=1.0)])
    for target in (
        3,
        {"variables": 3},
        {"none of": ["a"]},
        {"variables": [], "everything but": []},
        [3],
        {"variables": [3]},
    ):
        with pytest.raises(ValueError, match="The target of a saved rule must be text, a list of targets"):
            rules_from_config([{"target": target, "multiplier": 1.0}])
