import sys

import keras
import numpy as np
import pytest

import difflr
from difflr.plan.freezing import freeze
from plan import models_of_all_kinds as kinds


def row(plan, path):
    return next(row for row in plan.rows if row.path == path)


def test_later_rules_win_axis_by_axis():
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    plan = difflr.Plan(
        kinds.nested(),
        [
            ("backbone", {"multiplier": 0.1, "weight_decay_multiplier": 0.5, "schedule": schedule}),
            ("*/bias", {"multiplier": 2.0}),
            ("backbone/stem/bias", {"weight_decay_multiplier": 0}),
        ],
    )
    bias = row(plan, "backbone/stem/bias")
    assert (bias.multiplier, bias.weight_decay_multiplier, bias.schedule, bias.frozen) == (2.0, 0.0, schedule, False)
    assert bias.decided["multiplier"] == "rule 2: '*/bias'"
    assert bias.decided["schedule"] == "rule 1: 'backbone'"
    assert row(plan, "backbone/inner/a/kernel").weight_decay_multiplier == 0.5
    assert row(plan, "head/kernel").decided == {}


def test_frozen_is_an_axis_of_its_own():
    plan = difflr.Plan(kinds.nested(), {"backbone/stem": difflr.FROZEN, "*/bias": 2.0})
    assert row(plan, "backbone/stem/bias").frozen
    plan = difflr.Plan(kinds.nested(), {"backbone": difflr.FROZEN, "backbone/stem": difflr.TRAINABLE})
    assert not row(plan, "backbone/stem/kernel").frozen
    assert row(plan, "backbone/inner/a/kernel").frozen


def test_zero_is_frozen_until_another_number():
    assert difflr.Plan(kinds.nested(), {"backbone": 0}) == difflr.Plan(kinds.nested(), {"backbone": difflr.FROZEN})
    plan = difflr.Plan(kinds.nested(), {"backbone": 0, "backbone/stem": 0.5})
    assert row(plan, "backbone/stem/kernel").multiplier == 0.5
    assert row(plan, "backbone/inner/a/kernel").frozen


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"head": 0.1, "*": 0.2}, r"Rule 1: 'head' has no effect.*overridden by rule 2: '\*'"),
        ({"backbone": difflr.FROZEN, "backbone/stem": 0.5}, r"Rule 2.*frozen by rule 1: 'backbone'.*frozen=False"),
        ({"backbone": difflr.FROZEN, "backbone/stem": {"weight_decay_multiplier": 0}}, "Rule 2.*has no effect"),
    ],
)
def test_a_rule_without_effect(rules, message):
    with pytest.raises(ValueError, match=message):
        difflr.Plan(kinds.nested(), rules)


def test_what_the_user_froze_stays_frozen():
    model = kinds.nested()
    model.get_layer("backbone").trainable = False
    plan = difflr.Plan(model, {"head": 2.0})
    assert row(plan, "backbone/stem/kernel").decided["frozen"] == "layer.trainable = False"
    for value in (0.5, difflr.TRAINABLE):
        with pytest.raises(ValueError, match=r"layer\.trainable = True"):
            difflr.Plan(model, {"backbone/stem": value})


def test_a_shared_variable_claimed_twice():
    with pytest.raises(ValueError, match=r"first/shared/kernel is claimed twice.*rule 1: 'first'.*rule 2: 'second'"):
        difflr.Plan(kinds.shared(), {"first": 0.1, "second": 0.2})
    with pytest.raises(ValueError, match=r"the default"):
        difflr.Plan(kinds.shared(), {"second": 0.2})
    assert row(difflr.Plan(kinds.shared(), {"*shared": 0.2}), "first/shared/kernel").multiplier == 0.2


def test_making_a_plan_changes_nothing():
    model = kinds.nested()
    before = len(model.trainable_variables)
    difflr.Plan(model, {"backbone": difflr.FROZEN})
    assert len(model.trainable_variables) == before


def test_freeze_thaw_and_batch_normalization():
    model = kinds.nested()
    inner, bare = model.get_layer("backbone").get_layer("inner"), model.get_layer("backbone").get_layer("bare")
    for _ in range(2):
        freeze(difflr.Plan(model, {"backbone": difflr.FROZEN}))
        assert len(model.trainable_variables) == 2
        assert not inner.get_layer("bn").trainable
        assert not bare.trainable
    plan = difflr.Plan(model, {"backbone/inner": difflr.FROZEN}, frozen_statistics="update")
    freeze(plan)
    assert [r.path for r in plan.rows if not r.frozen] == [
        "backbone/stem/kernel", "backbone/stem/bias", "head/kernel", "head/bias",
    ]  # fmt: skip
    assert inner.get_layer("bn").trainable
    freeze(difflr.Plan(model))
    assert len(model.trainable_variables) == 8
    assert bare.trainable


@pytest.mark.parametrize("statistics", ["keep", "update"])
def test_frozen_statistics_in_fit(statistics):
    model = kinds.nested()
    bn = model.get_layer("backbone").get_layer("inner").get_layer("bn")
    bare = model.get_layer("backbone").get_layer("bare")
    plan = difflr.Plan(model, {"backbone": difflr.FROZEN}, frozen_statistics=statistics)
    model.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
    x = np.random.default_rng(0).normal(3, 2, (16, 4)).astype("float32")
    before = [keras.ops.convert_to_numpy(layer.moving_mean).copy() for layer in (bn, bare)]
    model.fit(x, x[:, :2], verbose=0)
    after = [keras.ops.convert_to_numpy(layer.moving_mean) for layer in (bn, bare)]
    for old, new in zip(before, after, strict=True):
        assert np.array_equal(old, new) == (statistics == "keep")


def test_unknown_policy():
    with pytest.raises(ValueError, match="'keep' or 'update'"):
        difflr.Plan(kinds.nested(), frozen_statistics="freeze")


def test_groups_merge_equal_settings():
    one, same = (keras.optimizers.schedules.CosineDecay(1.0, 10) for _ in range(2))
    plan = difflr.Plan(kinds.nested(), [("*/bias", 0.5), ("backbone/inner/bn", 0.5)])
    assert [(group.multiplier, len(group.rows)) for group in plan.groups] == [(1.0, 3), (0.5, 5)]
    plan = difflr.Plan(kinds.nested(), {"backbone/stem": one, "head": same})
    assert [len(group.rows) for group in plan.groups] == [4, 4]


def test_products():
    model = kinds.nested()
    decay = difflr.Plan(model, {"backbone": 0.1, "backbone/stem": 0.01})
    biases = difflr.Plan(model, {"kind:bias": {"multiplier": 2, "weight_decay_multiplier": 0}})
    product = decay * biases
    assert row(product, "backbone/stem/bias").multiplier == pytest.approx(0.02)
    assert row(product, "backbone/stem/bias").weight_decay_multiplier == 0
    assert product == biases * decay
    assert (0.5 * decay) == (decay * 0.5)
    assert row(0.5 * decay, "head/kernel").multiplier == 0.5
    frozen = decay * difflr.Plan(model, {"head": difflr.FROZEN})
    assert row(frozen, "head/kernel").frozen
    assert all(r.frozen for r in (decay * 0).rows)
    schedule = keras.optimizers.schedules.CosineDecay(1.0, 10)
    both = difflr.Plan(model, {"head": schedule}) * difflr.Plan(model, {"head": schedule})
    assert float(row(both, "head/bias").schedule(5)) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="same model"):
        decay * difflr.Plan(kinds.functional())
    with pytest.raises(ValueError, match="factor"):
        decay * -1


def test_look_up():
    model = kinds.nested()
    plan = difflr.Plan(model)
    kernel = model.get_layer("head").kernel
    assert kernel in plan
    assert plan.row(kernel).path == "head/kernel"
    assert plan.row(kernel).num_parameters == 8
    with pytest.raises(KeyError, match="does not cover"):
        plan.row(kinds.nested().get_layer("head").kernel)
    assert repr(plan) == "<difflr.Plan: 8 variables, 1 group, 0 frozen>"
    assert plan != 3


def test_declared_multipliers_come_before_rules():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            difflr.layers.Dense(3, learning_rate_multiplier=0.5, name="a"),
            difflr.layers.Dense(2, W_learning_rate_multiplier=0.25, name="b"),
        ]
    )
    plan = difflr.Plan(model)
    assert [r.multiplier for r in plan.rows] == [0.5, 0.5, 0.25, 1.0]
    assert plan.rows[0].decided == {"multiplier": "declared by layer 'a'"}
    assert [r.multiplier for r in difflr.Plan(model, {"a": 0.1}).rows] == [0.1, 0.1, 0.25, 1.0]


@pytest.mark.same_everywhere
def test_resolution_does_not_look_at_every_pair(monkeypatch):
    """Rules that name layers find them in an index: the work grows with what is matched, not with rules x variables."""
    from difflr.plan.targets import Targets

    model = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(2, name=f"d{n}") for n in range(200))])
    found = []
    match = Targets._match_path
    monkeypatch.setattr(Targets, "_match_path", lambda self, pattern: found.append(match(self, pattern)) or found[-1])
    difflr.Plan(model, {f"d{n}": 0.5 for n in range(200)})
    assert sum(map(len, found)) == 400


def test_live_does_not_undo_a_multiplier_of_0():
    with pytest.raises(ValueError, match=r"Rule 2: 'head' has no effect: .* frozen by rule 1.*a multiplier above 0"):
        difflr.Plan(kinds.nested(), [("head", 0.0), ("head", difflr.TRAINABLE)])
    plan = difflr.Plan(kinds.nested(), [("*", difflr.FROZEN), ("head", {"multiplier": 0.5, "frozen": False})])
    assert row(plan, "head/kernel").multiplier == 0.5


def test_a_rule_that_decides_one_axis_only_is_not_hidden():
    plan = difflr.Plan(kinds.nested(), [("head", {"multiplier": 0.5, "weight_decay_multiplier": 0.25}), ("head", 2.0)])
    assert row(plan, "head/bias").setting[:2] == (2.0, 0.25)
    plan = difflr.Plan(kinds.nested(), [("head", 0.5), ("head/bias", 2.0)])
    assert [row(plan, path).multiplier for path in ("head/kernel", "head/bias")] == [0.5, 2.0]


def test_freezing_leaves_the_other_axes_as_they_are():
    plan = difflr.Plan(
        kinds.nested(), [("head", {"multiplier": 0.5, "weight_decay_multiplier": 2}), ("head/bias", difflr.FROZEN)]
    )
    assert row(plan, "head/bias").setting == (0.0, 0.0, "", True, "", "", 0.0)
    assert row(plan, "head/bias").weight_decay_multiplier == 2
    assert row(plan, "head/kernel").setting == (0.5, 2.0, "", False, "", "", 0.0)
    again = difflr.Plan(
        kinds.nested(),
        [("head", {"multiplier": 0.5}), ("*", difflr.FROZEN), ("head", difflr.TRAINABLE)],
    )
    assert row(again, "head/kernel").multiplier == 0.5


def test_what_a_plan_froze_is_not_taken_for_frozen_by_the_user():
    model = kinds.nested()
    freeze(difflr.Plan(model, {"backbone": difflr.FROZEN}))
    plan = difflr.Plan(model, {"backbone/stem": 0.5})
    assert not any(row.frozen for row in plan.rows)
    freeze(plan)
    assert len(model.trainable_variables) == 8


def test_what_the_user_froze_stays_so_through_plans_that_freeze_and_thaw():
    model = kinds.nested()
    inner = model.get_layer("backbone").get_layer("inner")
    inner.trainable = False
    freeze(difflr.Plan(model, {"*": difflr.FROZEN}))
    freeze(difflr.Plan(model))
    assert not inner.trainable
    assert not inner.get_layer("bn").trainable
    assert len(model.trainable_variables) == 4
    assert [r.path for r in difflr.Plan(model).rows if r.frozen] == [
        "backbone/inner/a/kernel", "backbone/inner/a/bias", "backbone/inner/bn/gamma", "backbone/inner/bn/beta",
    ]  # fmt: skip


def test_what_the_user_freezes_after_a_plan_thawed_it_is_frozen_by_the_user():
    model = kinds.nested()
    backbone = model.get_layer("backbone")
    layers = [backbone.get_layer("inner").get_layer("bn"), backbone.get_layer("bare"), backbone.get_layer("stem")]
    freeze(difflr.Plan(model, {"backbone": difflr.FROZEN}))
    freeze(difflr.Plan(model))
    assert all(layer.trainable for layer in layers)
    for layer in layers:
        layer.trainable = False
    plan = difflr.Plan(model)
    assert [r.path for r in plan.rows if r.decided.get("frozen") == "layer.trainable = False"] == [
        "backbone/stem/kernel", "backbone/stem/bias", "backbone/inner/bn/gamma", "backbone/inner/bn/beta",
    ]  # fmt: skip
    freeze(plan)
    assert not any(layer.trainable for layer in layers)


def test_one_variable_frozen_by_the_user():
    model = kinds.nested()
    model.get_layer("head").bias.trainable = False
    plan = difflr.Plan(model, {"head": 0.5})
    assert row(plan, "head/bias").decided["frozen"] == "layer.trainable = False"
    assert row(plan, "head/kernel").multiplier == 0.5


@pytest.mark.parametrize("rules", [{"backbone": difflr.FROZEN}, {"backbone": 0.0}])
def test_statistics_of_a_layer_without_weights_are_frozen_and_unfrozen(rules):
    model = kinds.nested()
    bare = model.get_layer("backbone").get_layer("bare")
    plan = difflr.Plan(model, rules)
    assert bare in plan.kept_statistics()
    freeze(plan)
    assert not bare.trainable
    freeze(difflr.Plan(model, {"head": 0.5}))
    assert bare.trainable


def test_statistics_that_the_user_froze_are_not_updated():
    model = kinds.nested()
    model.get_layer("backbone").trainable = False
    plan = difflr.Plan(model, frozen_statistics="update")
    freeze(plan)
    assert plan.kept_statistics() == []
    assert not model.get_layer("backbone").get_layer("bare").trainable


def test_a_product_with_0_freezes_and_says_so():
    product = difflr.Plan(kinds.nested(), {"head": 0.5}) * 0
    assert all(r.frozen and r.multiplier == 0 for r in product.rows)
    assert len(product.kept_statistics()) == 2
    assert str(product).splitlines()[2].split() == ["all", "8", "58", "frozen", "*", "0"]


def test_products_at_the_ends_of_the_floats():
    model = kinds.nested()
    tiny, huge = (difflr.Plan(model, {"head": number}) for number in (1e-200, 1e200))
    for plan in (tiny, huge):
        with pytest.raises(ValueError, match="product of the multipliers of head/kernel is out of the float range"):
            plan * plan


def test_products_of_plans_that_disagree_about_statistics():
    model = kinds.nested()
    with pytest.raises(ValueError, match="The plans disagree about `frozen_statistics`: 'keep' and 'update'"):
        difflr.Plan(model) * difflr.Plan(model, frozen_statistics="update")


def test_products_keep_what_the_user_froze():
    model = kinds.nested()
    model.get_layer("head").trainable = False
    product = difflr.Plan(model) * difflr.Plan(model, {"backbone": 0.5}) * 2
    assert row(product, "head/bias").decided["frozen"] == "layer.trainable = False"
    freeze(product)
    freeze(difflr.Plan(model))
    assert not model.get_layer("head").bias.trainable


def test_equality_is_about_settings_not_reasons():
    model = kinds.nested()
    plan = difflr.Plan(model, {"head": 0.5})
    assert plan == difflr.Plan(model, [(model.get_layer("head"), 0.5)])
    assert plan == difflr.Plan(kinds.nested(), {"head": 0.5})
    assert plan != difflr.Plan(model, {"head/kernel": 0.5})
    assert plan != difflr.Plan(model, {"head": 0.5}, frozen_statistics="update")
    assert difflr.Plan(model, {"backbone/inner": 0, "backbone/stem": 0}) != difflr.Plan(model, {"backbone": 0})
    with pytest.raises(TypeError):
        hash(plan)


def test_schedules_make_groups_by_what_they_are():
    schedules = keras.optimizers.schedules
    rules = [
        ("backbone/stem", schedules.CosineDecay(1.0, 10)),
        ("backbone/inner", schedules.CosineDecay(1.0, 20)),
        ("head", schedules.CosineDecay(1.0, 10)),
    ]
    groups = difflr.Plan(kinds.nested(), rules).groups
    assert [len(group.rows) for group in groups] == [4, 4]
    assert groups[0].schedule.decay_steps == 10


def test_frozen_rows_are_in_no_group():
    plan = difflr.Plan(kinds.nested(), {"backbone": difflr.FROZEN})
    assert [[r.path for r in group.rows] for group in plan.groups] == [["head/kernel", "head/bias"]]
    assert repr(plan) == "<difflr.Plan: 8 variables, 1 group, 6 frozen>"


def test_rows_of_layers_shared_by_two_towers_move_as_one():
    plan = difflr.Plan(kinds.shared(), {"*shared": {"multiplier": 0.5, "weight_decay_multiplier": 0}})
    assert [r.setting[:2] for r in plan.rows if "shared" in r.path] == [(0.5, 0.0)] * 2
    plan = difflr.Plan(kinds.shared(), {"first/shared": 0.5, "second/shared": 0.5})
    assert row(plan, "first/shared/kernel").multiplier == 0.5


def work_of(function, *arguments):
    """How many lines of Python run in `function`, a line in a loop each time."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def many_layers(number):
    class Many(keras.Model):
        def __init__(self):
            super().__init__()
            self.blocks = [keras.layers.Dense(1) for _ in range(number)]
            for block in self.blocks:
                block.build((None, 1))

    return Many(), [("*/bias", 2.0), *((f"blocks/{n}/kernel", 0.5 + n) for n in range(number))]


def many_variables_of_one_name(number):
    variables = [keras.Variable([1.0], name="same") for _ in range(number)]
    return variables, [(variable, 0.5 + n) for n, variable in enumerate(variables)]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("make", [many_layers, many_variables_of_one_name])
def test_the_work_grows_with_the_number_of_variables_and_no_faster(make):
    def work(number):
        model, rules = make(number)
        plan = difflr.Plan(model, rules)
        text = plan.to_json()
        steps = (difflr.Plan, model, rules), (plan.to_json,), (difflr.Plan.from_json, model, text), (plan.table, 0.1)
        return [work_of(*step) for step in steps]

    for few, many in zip(work(20), work(200), strict=True):
        assert many < 11 * few
