"""Any rules on any model: laws that hold whatever they are."""

import hypothesis
import pytest
from hypothesis import strategies

import difflr
from plan import models_of_all_kinds as kinds

MODELS = {kind: make() for kind, make in kinds.ALL.items()}  # made here: Keras draws random numbers as it makes them
multipliers = strategies.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0])
values = strategies.one_of(
    multipliers,
    strategies.just(difflr.FROZEN),
    strategies.just(difflr.LIVE),
    strategies.fixed_dictionaries({"multiplier": multipliers, "weight_decay_multiplier": multipliers}),
)
settings = hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.filter_too_much, hypothesis.HealthCheck.too_slow],
)


@strategies.composite
def models_and_rules(draw):
    model = MODELS[draw(strategies.sampled_from(sorted(MODELS)))]
    paths = [row.path for row in difflr.Plan(model).rows]
    prefixes = ["/".join(path.split("/")[:end]) for path in paths for end in range(1, path.count("/") + 2)]
    targets = strategies.sampled_from(sorted({*prefixes, "*", "*/bias", "*kernel", "kind:vector", "kind:head"}))
    return model, draw(strategies.lists(strategies.tuples(targets, values), max_size=3))


def made(model, rules):
    try:
        return difflr.Plan(model, rules)
    except ValueError as error:
        expected = ("has no effect", "claimed twice")
        if not any(text in str(error) for text in expected):
            raise
        hypothesis.reject()


@settings
@hypothesis.given(models_and_rules())
def test_every_variable_has_one_row_and_live_ones_one_group(drawn):
    model, rules = drawn
    plan = made(model, rules)
    assert [id(row.variable) for row in plan.rows] == [id(row.variable) for row in difflr.Plan(model).rows]
    grouped = [row.path for group in plan.groups for row in group.rows]
    assert sorted(grouped) == sorted(row.path for row in plan.rows if not row.frozen)
    assert len({group.rows[0].setting for group in plan.groups}) == len(plan.groups)


@settings
@hypothesis.given(models_and_rules())
def test_json_and_repetition_change_nothing(drawn):
    model, rules = drawn
    plan = made(model, rules)
    assert difflr.Plan.from_json(model, plan.to_json()) == plan
    assert made(model, rules) == plan


@settings
@hypothesis.given(models_and_rules(), multipliers, multipliers)
def test_laws_of_products(drawn, a, b):
    model, rules = drawn
    plan, one = made(model, rules), difflr.Plan(model)
    assert plan * one == plan
    assert one * plan == plan
    assert plan * a * b == plan * (a * b)
    assert (plan * a) * plan == plan * (plan * a)


@settings
@hypothesis.given(models_and_rules())
def test_the_last_rule_always_gets_its_way(drawn):
    model, rules = drawn
    plan = made(model, [*rules, ("*", {"multiplier": 0.5, "frozen": False})]) if not rules else made(model, rules)
    if not rules:
        assert {row.multiplier for row in plan.rows} == {0.5}
        return
    target, value = rules[-1]
    if isinstance(value, float) and value > 0:
        matched = {row.path for row in made(model, [(target, 3.0)]).rows if row.multiplier == 3.0}
        assert all(row.frozen or row.multiplier == value for row in plan.rows if row.path in matched)


def test_the_laws_are_not_vacuous():
    model = MODELS["nested"]
    assert difflr.Plan(model, {"head": 0.5}) != difflr.Plan(model, {"head": 0.25})
    assert difflr.Plan(model, {"head": 0.5}) != pytest.approx(3)
