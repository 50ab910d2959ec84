import functools
import json

import keras
import pytest

import difflr
from difflr.plan.freezing import freeze
from difflr.plan.schedule import ScheduleProduct
from plan import models_of_all_kinds as kinds

RULES = {"backbone": 0.1, "backbone/inner/bn": difflr.FROZEN, "*/bias": {"multiplier": 2, "weight_decay_multiplier": 0}}


@pytest.mark.same_everywhere
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
    freeze(bound)
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


@functools.cache
def nested_plan():
    return difflr.Plan(kinds.nested(), RULES).to_json()


def altered(**changes):
    config = json.loads(nested_plan())
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
        ("[]", "not a difflr plan"),
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
        difflr.Plan.from_json(kinds.nested(), {"format": "difflr plan 2"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not the JSON text of a plan"),
        ('{"format": "difflr plan 2", "rows": [' + "9" * 5000 + "]}", "not the JSON text of a plan"),
        ("null", "Received: 'NoneType'"),
        (altered(statistics=None), "no valid 'statistics'"),
        (
            altered(statistics=[{"path": "a", "place": "a", "frozen": 1, "by_user": False}]),
            "Entry of 'statistics' 0 .* no valid 'frozen'",
        ),
        (altered(frozen_statistics=["keep"]), "must be 'keep' or 'update'"),
        (altered(place="head/bias"), "is the second for 'head/bias'"),
        (altered(multiplier=10**400), "multiplier"),
        (altered(multiplier=None), "no valid 'multiplier'"),
        (altered(weight_decay_multiplier=float("inf")), "weight_decay_multiplier"),
        (altered(multiplier=0), "contradicts itself"),
        (altered(frozen=0), "no valid 'frozen'"),
        (altered(shape=["a", 3]), "no valid 'shape'"),
        (altered(shape=[4, -4]), "no valid 'shape'"),
        (altered(decided=[]), "no valid 'decided'"),
        (altered(schedule="cosine"), "no valid 'schedule'"),
        (altered(path="x" * 10_000, decided="y" * 10_000), "no valid 'decided'"),
    ],
)
def test_more_hostile_text(text, message):
    with pytest.raises(ValueError, match=message) as error:
        difflr.Plan.from_json(kinds.nested(), text)
    assert len(str(error.value)) < 600


def row_with(number, **fields):
    config = json.loads(nested_plan())
    config["rows"][number].update(fields)
    return json.dumps(config)


BY_USER = {"frozen": "layer.trainable = False"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            row_with(0, Multiplier=3),
            "unknown field 'Multiplier'. Did you mean 'multiplier'\\? Expected: path, place",
        ),
        (row_with(0, lr=3), r"Row 0 of the plan \(backbone/stem/kernel\) has the unknown field 'lr'\. Expected: path"),
        (
            json.dumps({**json.loads(altered()), "frozen_statistic": "keep"}),
            "The plan .* Did you mean 'frozen_statistics'",
        ),
        (
            altered(
                statistics=[
                    {
                        "path": "backbone/bare",
                        "place": "backbone/bare",
                        "frozen": True,
                        "by_user": False,
                        "by_users": True,
                    }
                ]
            ),
            r"Entry of 'statistics' 0 of the plan \(backbone/bare\) .* Did you mean 'by_user'",
        ),
        (
            row_with(0, decided={"multipliers": "me"}),
            "'decided', has the unknown field 'multipliers'. Did you mean 'mul",
        ),
        (row_with(0, decided=BY_USER), "frozen is False, but 'decided' means frozen"),
        (row_with(0, keeps_statistics=True), "frozen is False, but 'keeps_statistics' means frozen"),
        (
            row_with(0, keeps_statistics=True, frozen=True, multiplier=0.0),
            "row of backbone/stem/kernel has 'keeps_statistics', and its layer has none: it is a Dense",
        ),
    ],
)
def test_what_would_have_no_effect_or_freeze_unseen(text, message):
    with pytest.raises(ValueError, match=message) as error:
        difflr.Plan.from_json(kinds.nested(), text)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize("field", sorted(json.loads(nested_plan())["rows"][0]))
def test_a_field_that_is_missing(field):
    config = json.loads(nested_plan())
    del config["rows"][1][field]
    with pytest.raises(ValueError, match=f"Row 1 of the plan .*has no valid '{field}'"):
        difflr.Plan.from_json(kinds.nested(), json.dumps(config))


def serialized(schedule):
    return keras.saving.serialize_keras_object(schedule)


def nested_schedule(depth):
    inside = serialized(keras.optimizers.schedules.CosineDecay(1.0, 10))
    for _ in range(depth):
        inside = {**serialized(ScheduleProduct([])), "config": {"schedules": [inside]}}
    return inside


BUILT = []


@keras.saving.register_keras_serializable("difflr tests")
class Bystander(keras.layers.Layer):
    """A class that Keras would build from a config, and that is no schedule."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        BUILT.append(self)


def no_schedules():
    bystander = {
        "module": "difflr tests",
        "class_name": "Bystander",
        "config": {},
        "registered_name": "difflr tests>Bystander",
    }
    cosine = serialized(keras.optimizers.schedules.CosineDecay(1.0, 10))
    return {
        "another registered class": bystander,
        "the same inside a product": {**nested_schedule(1), "config": {"schedules": [cosine, bystander]}},
        "a name of Keras beside its module": {**cosine, "module": "keras.layers", "class_name": "Dense"},
        "the module of another file": {**cosine, "module": "antigravity"},
        "another name": {**cosine, "class_name": "serialize"},
        "names that are none": {**cosine, "class_name": ["CosineDecay"], "registered_name": 3},
        "arguments that do not fit": {**cosine, "config": {"decay": 3}},
        "no arguments": {**cosine, "config": None},
        "a product of nothing": {**nested_schedule(1), "config": {}},
        "products deeper than Python's stack": nested_schedule(250),
    }


@pytest.mark.parametrize("what", no_schedules())
def test_only_schedules_are_built(what):
    BUILT.clear()
    with pytest.raises(ValueError, match="schedule"):
        difflr.Plan.from_json(kinds.nested(), altered(schedule=no_schedules()[what]))
    assert BUILT == []


def test_a_schedule_of_ones_own_has_to_be_registered():
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 1.0

        def get_config(self):
            return {}

    model = kinds.nested()
    text = difflr.Plan(model, {"head": Own()}).to_json()
    with pytest.raises(ValueError, match=r"one registered with @keras\.saving\.register_keras_serializable"):
        difflr.Plan.from_json(model, text)
    with keras.saving.custom_object_scope({"Own": Own}):
        assert isinstance(difflr.Plan.from_json(model, text).rows[-1].schedule, Own)


def test_products_of_schedules_and_statistics_come_back():
    schedules = keras.optimizers.schedules
    model = kinds.nested()
    first = difflr.Plan(model, {"backbone": difflr.FROZEN, "head": schedules.CosineDecay(1.0, 10)})
    plan = first * difflr.Plan(model, {"head": schedules.ExponentialDecay(1.0, 10, 0.5)})
    again = difflr.Plan.from_json(model, plan.to_json())
    assert again == plan
    assert len(again.kept_statistics()) == len(plan.kept_statistics()) == 2
    assert float(again.rows[-1].schedule(5)) == pytest.approx(float(plan.rows[-1].schedule(5)))
    assert str(again) == str(plan)


def test_what_the_user_has_frozen_since_stays_frozen():
    text = difflr.Plan(kinds.nested(), {"*": 0.5}).to_json()
    model = kinds.nested()
    model.get_layer("backbone").trainable = False
    plan = difflr.Plan.from_json(model, text)
    assert [row.frozen for row in plan.rows] == [True] * 6 + [False] * 2
    assert plan.rows[0].decided["frozen"] == "layer.trainable = False"


def test_what_the_user_froze_then_is_frozen_again():
    first = kinds.nested()
    first.get_layer("backbone").trainable = False
    model = kinds.nested()
    plan = difflr.Plan.from_json(model, difflr.Plan(first).to_json())
    freeze(plan)
    assert len(model.trainable_variables) == 2
    assert not model.get_layer("backbone").get_layer("bare").trainable


def test_statistics_are_part_of_what_has_to_match():
    text = difflr.Plan(kinds.nested()).to_json().replace("backbone/bare", "backbone/elsewhere")
    with pytest.raises(
        ValueError, match=r"(?s)not in the model: backbone/elsewhere\..*not in the plan: backbone/bare\."
    ):
        difflr.Plan.from_json(kinds.nested(), text)


def test_json_of_variables_without_a_model():
    variables = [keras.Variable([1.0], name=name) for name in ("a", "b")]
    plan = difflr.Plan(variables, [(variables[0], 0.5)])
    assert difflr.Plan.from_json(variables, plan.to_json()) == plan
