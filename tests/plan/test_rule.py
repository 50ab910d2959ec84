import copy
import pickle

import keras
import numpy as np
import pytest

import difflr
from difflr.plan.rule import as_rules, describe
from saving.conftest import saying


@pytest.mark.parametrize("value", [-1, -0.001, float("nan"), float("inf"), True, "0.1", None, [0.1], np.bool_(True)])
def test_no_multiplier(value):
    with pytest.raises((ValueError, TypeError), match=r"multiplier|sets nothing"):
        difflr.Rule.of("head", value)


@pytest.mark.parametrize("value", [0, 1, 0.1, 2.5, np.float32(0.5), np.int64(3)])
def test_a_number_is_the_multiplier(value):
    assert difflr.Rule.of("head", value) == difflr.Rule("head", multiplier=float(value))


def test_the_error_names_target_value_and_fix():
    with pytest.raises(
        ValueError, match=r"'head'.*finite number >= 0.*Received: '0\.1' \(of type str\).*without quotes"
    ):
        difflr.Rule.of("head", "0.1")
    with pytest.raises(ValueError, match=r"difflr\.FROZEN"):
        difflr.Rule.of("head", False)


def test_frozen_and_live():
    assert difflr.Rule.of("head", difflr.FROZEN).axes == {"frozen": True}
    assert difflr.Rule.of("head", difflr.TRAINABLE).axes == {"frozen": False}
    assert repr(difflr.FROZEN) == "difflr.FROZEN"


@pytest.mark.parametrize("value", [difflr.FROZEN, difflr.TRAINABLE])
def test_values_survive_copies(value):
    assert copy.deepcopy(value) is value
    assert pickle.loads(pickle.dumps(value)) is value


def test_several_axes_at_once():
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    rule = difflr.Rule.of("x", {"multiplier": 2, "weight_decay_multiplier": 0, "schedule": schedule, "frozen": False})
    assert rule.axes == {"multiplier": 2.0, "weight_decay_multiplier": 0.0, "schedule": schedule, "frozen": False}
    assert difflr.Rule.of("x", schedule).axes == {"schedule": schedule}


def test_unknown_axis_names_the_known_ones():
    with pytest.raises(ValueError, match=r"'lr_mult'.*multiplier, weight_decay_multiplier, schedule, frozen"):
        difflr.Rule.of("x", {"lr_mult": 2})


def test_a_rule_that_sets_nothing():
    with pytest.raises(ValueError, match="sets nothing"):
        difflr.Rule("x")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"multiplier": 0.1, "frozen": True}, r"'body' contradicts itself. .*multiplier=0\.1, frozen=True\. Leave one"),
        (
            {"multiplier": 0, "frozen": False},
            r"'body' contradicts itself. .*multiplier=0, frozen=False\. 0 freezes: to",
        ),
    ],
)
def test_a_rule_that_contradicts_itself(value, message):
    """One half of it would be dropped."""
    with pytest.raises(ValueError, match=message):
        difflr.Rule.of("body", value)
    assert difflr.Rule("body", multiplier=0, frozen=True).frozen
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="body"), keras.layers.Dense(1, name="head")]
    )
    plan = difflr.Plan(
        model, [("*", 0.1), ("*", difflr.FROZEN), ("head", difflr.TRAINABLE)]
    )  # what the first may have meant
    assert [row.multiplier for row in plan.rows] == [0, 0, 0.1, 0.1]


def test_no_schedule_and_no_flag():
    with pytest.raises(ValueError, match="LearningRateSchedule"):
        difflr.Rule("x", schedule=lambda step: 1.0)
    with pytest.raises(ValueError, match="`frozen` must be"):
        difflr.Rule("x", frozen=1)


def test_forms_of_rules():
    rule = difflr.Rule("a", multiplier=0.5)
    assert as_rules(None) == []
    assert as_rules({"a": 0.5}) == as_rules([("a", 0.5)]) == as_rules([rule]) == as_rules(rule) == [rule]
    for wrong in ("a", 3, [("a",)], ["a"]):
        with pytest.raises(TypeError, match="Received"):
            as_rules(wrong)


@pytest.mark.parametrize("value", [10**400, -(10**400), float("-inf"), np.float32("nan"), 1j, b"1", object()])
def test_numbers_no_float_can_hold_and_other_things(value):
    with pytest.raises(ValueError, match=r"must be a finite number >= 0, such as 0\.1\. Received") as error:
        difflr.Rule.of("head", value)
    assert len(str(error.value)) < 300


def test_a_word_is_no_number_without_quotes():
    with pytest.raises(ValueError, match=r"'frozen' \(of type str\)\. To freeze, use `difflr\.FROZEN`"):
        difflr.Rule.of("head", "frozen")


def test_a_rule_does_not_change():
    with pytest.raises(AttributeError):
        difflr.Rule("a", multiplier=1.0).multiplier = 2.0
    with pytest.raises(TypeError):
        difflr.FROZEN["frozen"] = False


def test_how_a_target_is_named():
    layer = keras.layers.Dense(1, name="d")
    layer.build((None, 1))

    def is_small(variable):
        return True

    names = [describe(target) for target in ("a/b", layer, layer.kernel, is_small, 3)]
    assert names == ["'a/b'", "layer d", "variable d/kernel", "function is_small", "3"]


# -- learning rates, names, equality -----------------------------------------------------------------------------------


def small_model():
    layers = [keras.layers.Dense(2, name="body"), keras.layers.Dense(1, name="head")]
    return keras.Sequential([keras.Input((2,)), *layers])


def test_a_learning_rate_becomes_a_multiplier_of_the_base_rate():
    model = small_model()
    plan = difflr.Plan(model, {"body": {"learning_rate": 2e-5}, "head": {"learning_rate": 1e-3}}, learning_rate=1e-3)
    assert plan == difflr.Plan(model, {"body": 2e-5 / 1e-3})
    assert plan.rows[0].decided["multiplier"] == "rule 1: 'body' at 2e-05 of 0.001"
    assert difflr.Plan(model, {"body": {"learning_rate": 0}}, learning_rate=1e-3) == difflr.Plan(
        model, {"body": difflr.FROZEN}
    )


def test_a_learning_rate_without_a_base_rate_says_how_to_write_it():
    with pytest.raises(
        ValueError, match=r"'body' sets learning_rate=2e-05.*`multiplier=2e-05 / 1e-3`.*learning_rate=1e-3"
    ):
        difflr.Plan(small_model(), {"body": {"learning_rate": 2e-5}})
    for wrong in (0, -1, "1e-3", keras.optimizers.schedules.CosineDecay(1e-3, 10)):
        with pytest.raises(ValueError, match="`learning_rate` must be"):
            difflr.Plan(small_model(), learning_rate=wrong)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"multiplier": 0.1, "learning_rate": 1e-4}, r"multiplier=0\.1, learning_rate=0\.0001\. Leave one of them out"),
        ({"learning_rate": 1e-4, "frozen": True}, r"learning_rate=0\.0001, frozen=True\. Leave one"),
        ({"learning_rate": 0, "frozen": False}, r"learning_rate=0, frozen=False\. 0 freezes: .*learning_rate above 0"),
        ({"learning_rate": -1}, "`learning_rate` must be a finite number >= 0"),
        ({"learning_rates": 1}, "'learning_rates', which no rule can set. Did you mean 'learning_rate'"),
    ],
)
def test_learning_rates_that_are_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        difflr.Rule.of("body", values)


@pytest.mark.parametrize(
    "rules",
    [
        {"body": 2e-5, "head": 1e-3},
        {"*": 1e-3},
        {"body": difflr.FROZEN, "head": 1e-3},
    ],
)
def test_multipliers_that_look_like_learning_rates_are_warned_of(rules):
    with pytest.warns(
        UserWarning, match=r"looks like learning rates.* with Adam\(1e-3\), a multiplier of \S+ trains at"
    ):
        difflr.Plan(small_model(), rules)


@pytest.mark.parametrize(
    "rules",
    [
        {"body": 2e-5},
        {"body": 1e-3, "head": 0.1},
        {"*": 0.02},
        {"*": {"weight_decay_multiplier": 1e-3}},
        {"*": difflr.FROZEN},
        {"body": {"learning_rate": 2e-6}, "head": {"learning_rate": 1e-5}},
    ],
)
def test_no_warning_where_multipliers_may_be_meant(rules):
    model = small_model()
    difflr.Plan(model, rules, learning_rate=1e-3)
    assert max(row.multiplier for row in (1e-3 * difflr.Plan(model)).rows) == 1e-3


def test_rules_compare_by_identity_of_what_they_name():
    first, second = small_model(), small_model()
    layers = [model.get_layer("body") for model in (first, second)]
    kernels = [layer.kernel for layer in layers]
    for one, other in (layers, kernels, (lambda v: True, lambda v: True)):
        for wrap in (lambda t: t, lambda t: ["head", t], lambda t: difflr.everything_but([t])):
            rule = difflr.Rule(wrap(one), multiplier=0.5)
            assert rule == difflr.Rule(wrap(one), multiplier=0.5)
            assert hash(rule) == hash(difflr.Rule(wrap(one), multiplier=0.5))
            assert rule != difflr.Rule(wrap(other), multiplier=0.5)
            assert rule != difflr.Rule(wrap(one), multiplier=0.25)
    assert difflr.Rule("a", multiplier=1.0) != difflr.Rule(kernels[0], multiplier=1.0)
    assert difflr.Rule("a", multiplier=1.0) != "a"


def test_a_rule_keeps_its_list_as_it_was():
    targets = ["body"]
    rule = difflr.Rule(targets, multiplier=0.5)
    targets.append("head")
    assert rule.target == ("body",)


def test_how_targets_of_several_are_named():
    targets = (["a", "b"], list("abcd"), keras.layers.Dense, difflr.everything_but("a", "b"))
    assert [describe(target) for target in targets] == [
        *("'a', 'b'", "'a', ... 'd' (4 targets)", "layers of class Dense", "everything but 'a', 'b'"),
    ]


class Returns(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, value):
        self.value = value

    def __call__(self, step):
        return self.value if step > 0 else 1.0

    def get_config(self):
        return {"value": self.value}


def planned(**axes):
    """A rule is made without evaluating its schedules, which would start the backend; the plan checks them."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="x"), keras.layers.Dense(1, name="y")])
    return difflr.Plan(model, [difflr.Rule("x", **axes)])


@pytest.mark.parametrize(
    ("value", "why"),
    [(-0.5, "Received: -0.5 at step 1"), (float("nan"), "Received: nan"), (float("inf"), "Received: inf")],
)
def test_a_schedule_is_a_factor_like_a_multiplier(value, why):
    with pytest.raises(ValueError, match=why):
        planned(schedule=Returns(value))
    phases = difflr.Phases([difflr.Phase("x", epochs=1, schedule=Returns(value)), difflr.Phase("*")])
    with pytest.raises(ValueError, match=why):
        phases.table(planned(multiplier=0.5).model)


def test_a_schedule_that_returns_no_number():
    wrong = Returns(1.0)
    wrong.__class__ = type("Wrong", (Returns,), {"__call__": lambda self, step: "fast"})
    with pytest.raises(ValueError, match="Wrong does not return a number"):
        planned(schedule=wrong)


def test_a_schedule_that_knows_only_the_steps_of_one_training():
    table = Returns(1.0)
    table.__class__ = type("Table", (Returns,), {"__call__": lambda self, step: [1.0, 0.5][int(step)]})
    assert planned(schedule=table).rows[0].schedule is table


class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 1 - keras.ops.cast(step, "float32") / 5_000

    def get_config(self):
        return {}


def test_a_schedule_that_is_valid_in_a_short_training():
    with saying(r"LinearDecay must return finite factors >= 0. Received: -1 at step 10000. Train for fewer steps"):
        plan = planned(schedule=LinearDecay())
    assert plan.rows[0].schedule is not None


def test_a_schedule_in_a_model_that_keras_builds_the_optimizer_of_in_its_first_step():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), keras.layers.Dense(1)])
    halved = difflr.schedules.Constant(0.5)
    rule = difflr.Rule(model.layers[0], schedule=halved, hyperparameters={"momentum": difflr.schedules.Constant(0.5)})
    model.compile(difflr.optimizers.SGD(0.1, momentum=0.9, multipliers=[rule]), loss="mse")
    model.fit(np.ones((2, 2)), np.ones((2, 1)), verbose=0)
    assert difflr.plan_of(model).rows[0].schedule is halved


def test_frozen_as_a_number_that_does_not_freeze():
    for field in ("weight_decay_multiplier", "min_learning_rate"):
        with pytest.raises(ValueError, match=r"Received: difflr\.FROZEN \(of type _Value\)\.$"):
            difflr.Rule("x", **{field: difflr.FROZEN})


def test_a_schedule_of_rates_is_pointed_out():
    schedules = keras.optimizers.schedules
    for rates in (schedules.CosineDecay(1e-4, 10), schedules.PiecewiseConstantDecay([5], [1e-3, 1e-5])):
        with saying(r"look like learning rates.*factors on the optimizer's base rate"):
            planned(schedule=rates)
    planned(multiplier=1e4, schedule=schedules.CosineDecay(1e-4, 10))
    planned(schedule=difflr.schedules.WarmupCosine(1.0, num_steps=2_000, warmup_steps=1_000))
    planned(schedule=difflr.schedules.Delayed(1.0, delay_steps=500))
    planned(schedule=difflr.schedules.WarmupCosine(1.0, num_steps=9_000_000, warmup_steps=2_000_000))


def test_a_schedule_of_a_hyperparameter_has_its_range():
    with pytest.raises(ValueError, match=r"'beta_1'.*from 0 to below 1.*Received: 1 at step 0"):
        planned(hyperparameters={"beta_1": difflr.schedules.Constant(1.0)})


@pytest.mark.parametrize(
    ("field", "meant"), [("lr", "learning_rate"), ("trainable", "frozen"), ("wd", "weight_decay_multiplier")]
)
def test_fields_as_other_libraries_call_them(field, meant):
    with pytest.raises(ValueError, match=rf"Did you mean '{meant}'\?"):
        difflr.Rule.of("x", {field: 0.1})


def test_a_mapping_within_a_mapping():
    with pytest.raises(ValueError, match="write the path: 'x/kernel'"):
        difflr.Rule.of("x", {"kernel": 0.1})
