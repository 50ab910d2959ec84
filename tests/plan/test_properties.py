"""Any rules on any model: laws that hold whatever they are. `make properties` tries some thousands of each."""

import re

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies

import difflr
from difflr import Rule
from difflr.plan.freezing import freeze
from plan import models_of_all_kinds as kinds
from plan import plainly, random_models

pytestmark = pytest.mark.same_everywhere  # a step by a plan, on each backend: test_effects

BY_HAND = {}
EXAMPLES = hypothesis.settings.default.max_examples
RANDOM = max(8, EXAMPLES // 4)  # so many random models; making them is what takes the time

# Powers of two: their products are exact.
multipliers = strategies.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0])
a_schedule = strategies.sampled_from(
    [keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.5), keras.optimizers.schedules.CosineDecay(2.0, 10)]
)
by_axis = {"multiplier": multipliers, "weight_decay_multiplier": multipliers, "schedule": a_schedule}
by_axis["frozen"] = strategies.booleans()


def says_one_thing(axes):
    """Whether a rule sets something, and does not contradict itself."""
    return axes and (not {"frozen", "multiplier"} <= set(axes) or axes["frozen"] == (axes["multiplier"] == 0))


@pytest.fixture(scope="module", autouse=True)
def models_by_hand():
    """Made before the tests: Keras draws random numbers as it makes them."""
    BY_HAND.update({kind: make() for kind, make in kinds.ALL.items()})


values = strategies.one_of(
    multipliers,
    a_schedule,
    strategies.just(difflr.FROZEN),
    strategies.just(difflr.TRAINABLE),
    strategies.fixed_dictionaries({}, optional=by_axis).filter(says_one_thing),
)


def fewer(share):
    """Of what takes longer."""
    return hypothesis.settings(max_examples=max(5, int(EXAMPLES * share)))


def layers_of(model):
    """All layers in a model that own something a plan is about, frozen or not."""
    return [layer for layer in model._flatten_layers(include_self=False) if plainly.variables_in(layer, model)]


def is_matrix(variable):
    return len(variable.shape) == 2


@strategies.composite
def models(draw):
    chosen = draw(strategies.one_of(strategies.sampled_from(sorted(kinds.ALL)), strategies.integers(0, RANDOM - 1)))
    model = BY_HAND[chosen] if isinstance(chosen, str) else random_models.made(chosen)
    hypothesis.assume(model is not None)
    return model


@strategies.composite
def targets(draw, model):
    """A path of the model, a pattern made from one, a kind, a layer, a variable, or a function."""
    rows = difflr.Plan(model).rows
    paths = [path for row in rows for path in (row.path, *row.aliases)]
    prefixes = sorted({"/".join(path.split("/")[:end]) for path in paths for end in range(1, path.count("/") + 2)})
    layers = layers_of(model)
    kind = draw(
        strategies.sampled_from(["path", "path", "pattern", "pattern", "kind", "layer", "variable", "function"])
    )
    if kind == "path":
        return draw(strategies.sampled_from(prefixes))
    if kind == "pattern":
        parts = draw(strategies.sampled_from(prefixes)).split("/")
        place = draw(strategies.integers(0, len(parts) - 1))
        part = parts[place]
        parts[place] = draw(strategies.sampled_from(["*", f"{part[0]}*", f"*{part[-1]}", f"[{part[0]}z]{part[1:]}"]))
        return "/".join(parts)
    if kind == "kind":
        return draw(strategies.sampled_from(["kind:bias", "kind:kernel", "kind:vector"]))
    if kind == "layer" and layers:
        return draw(strategies.sampled_from(layers))
    if kind == "variable":
        return draw(strategies.sampled_from([row.variable for row in rows]))
    return is_matrix


@strategies.composite
def rules_for(draw, model, most=4):
    return draw(
        strategies.lists(strategies.tuples(targets(model), values).map(lambda each: Rule.of(*each)), max_size=most)
    )


@strategies.composite
def models_and_rules(draw):
    model = draw(models())
    return model, draw(rules_for(model))


def made(model, rules):
    """The plan, or `None` where the rules are refused."""
    try:
        return difflr.Plan(model, rules)
    except ValueError as error:
        if not any(text in str(error) for text in ("has no effect", "claimed twice", "matches no trainable variable")):
            raise
        return None


def accepted(model, rules):
    plan = made(model, rules)
    hypothesis.assume(plan is not None)
    return plan


@hypothesis.given(models_and_rules())
def test_every_variable_has_one_row_and_live_ones_one_group(drawn):
    model, rules = drawn
    plan = accepted(model, rules)
    assert [id(row.variable) for row in plan.rows] == [id(variable) for variable in model.trainable_variables]
    paths = [path for row in plan.rows for path in (row.path, *row.aliases)]
    assert len(set(paths)) == len(paths)
    grouped = [row.path for group in plan.groups for row in group.rows]
    assert sorted(grouped) == sorted(row.path for row in plan.rows if not row.frozen)
    assert len({group.rows[0].setting for group in plan.groups}) == len(plan.groups)


@hypothesis.given(models_and_rules())
def test_rules_come_to_what_they_plainly_say(drawn):
    model, rules = drawn
    try:
        expected = plainly.resolved(model, rules)
    except plainly.Disagreement:
        with pytest.raises(ValueError, match=r"claimed twice|matches no trainable"):
            difflr.Plan(model, rules)
        return
    refused = None
    try:
        plan = difflr.Plan(model, rules)
    except ValueError as error:
        refused = str(error)
    if refused is not None:
        if "matches no trainable variable" not in refused:
            number = int(re.match(r"Rule (\d+): .* has no effect", refused)[1]) - 1
            without = plainly.resolved(model, rules[:number] + rules[number + 1 :])
            assert plainly.trained(without) == plainly.trained(expected)  # it told the truth
        return
    got = {r.path: plainly.Expected(r.multiplier, r.weight_decay_multiplier, r.schedule, r.frozen) for r in plan.rows}
    assert got == expected


@hypothesis.given(models_and_rules())
def test_a_target_that_matches_nothing_is_refused_and_no_other_is(drawn):
    model, rules = drawn
    for rule in rules:
        try:
            matches = any(value.multiplier == 3 for value in plainly.resolved(model, [(rule.target, 3.0)]).values())
        except plainly.Disagreement:
            continue
        if matches:
            difflr.Plan(model, [(rule.target, 3.0)])
        else:
            with pytest.raises(ValueError, match="matches no trainable variable"):
                difflr.Plan(model, [(rule.target, 3.0)])


@hypothesis.given(models_and_rules())
def test_json_and_repetition_change_nothing(drawn):
    model, rules = drawn
    plan = accepted(model, rules)
    again = difflr.Plan.from_json(model, plan.to_json())
    assert again == plan
    assert again.to_json() == plan.to_json()
    assert [row.decided for row in again.rows] == [row.decided for row in plan.rows]
    assert difflr.Plan(model, rules) == plan
    assert str(difflr.Plan(model, rules)) == str(plan)


@hypothesis.given(models_and_rules())
def test_a_plan_is_what_its_own_rows_say(drawn):
    """A rule for each row comes to the same rows."""
    model, rules = drawn
    plan = accepted(model, rules)
    own = [
        Rule(row.variable, row.multiplier, row.weight_decay_multiplier, row.schedule, row.frozen) for row in plan.rows
    ]
    again = difflr.Plan(model, own)
    assert [row.setting for row in again.rows] == [row.setting for row in plan.rows]


@hypothesis.given(models_and_rules(), strategies.data())
def test_rules_about_different_axes_commute(drawn, data):
    model, rules = drawn
    hypothesis.assume(len(rules) > 1)
    place = data.draw(strategies.integers(0, len(rules) - 2))
    first, second = rules[place : place + 2]
    hypothesis.assume(not set(first.axes) & set(second.axes))
    swapped = [*rules[:place], second, first, *rules[place + 2 :]]
    assert made(model, swapped) == made(model, rules)


@hypothesis.given(models_and_rules(), strategies.data())
def test_rules_about_different_variables_commute(drawn, data):
    model, rules = drawn
    hypothesis.assume(len(rules) > 1)
    place = data.draw(strategies.integers(0, len(rules) - 2))
    first, second = rules[place : place + 2]
    reached = []
    for rule in (first, second):
        plan = accepted(model, [(rule.target, 3.0)])
        reached.append({row.path for row in plan.rows if row.multiplier == 3 or row.frozen})
    hypothesis.assume(not reached[0] & reached[1])
    swapped = [*rules[:place], second, first, *rules[place + 2 :]]
    assert made(model, swapped) == made(model, rules)


@hypothesis.given(models_and_rules(), multipliers, multipliers)
def test_products_with_numbers_and_with_the_plan_without_rules(drawn, a, b):
    model, rules = drawn
    plan, one = accepted(model, rules), difflr.Plan(model)
    assert plan * one == plan
    assert one * plan == plan
    assert plan * 1 == plan
    assert a * plan == plan * a
    assert plan * a * b == plan * (a * b)
    assert (plan * a) * plan == plan * (plan * a)
    if a * b > 0:
        assert (a * plan) * (b * plan) == a * b * (plan * plan)


@hypothesis.given(strategies.data())
def test_products_of_plans_commute_and_associate(data):
    model = data.draw(models())
    first, second, third = (accepted(model, data.draw(rules_for(model, most=2))) for _ in range(3))
    assert first * second == second * first
    assert (first * second) * third == first * (second * third)
    for mine, theirs, both in zip(first.rows, second.rows, (first * second).rows, strict=True):
        assert both.frozen == (mine.frozen or theirs.frozen)
        if not both.frozen:
            assert both.weight_decay_multiplier == mine.weight_decay_multiplier * theirs.weight_decay_multiplier


@hypothesis.given(strategies.data(), multipliers)
def test_a_number_is_one_factor_wherever_it_stands(data, number):
    model = data.draw(models())
    first, second = (accepted(model, data.draw(rules_for(model, most=2))) for _ in range(2))
    assert (number * first) * second == number * (first * second)
    assert first * (second * number) == (first * second) * number


@fewer(0.4)
@hypothesis.given(strategies.integers(0, RANDOM - 1), strategies.data())
def test_the_same_tree_made_again_has_the_same_paths(number, data):
    """Whatever Keras counted in between; and a plan's text fits it."""
    model = random_models.made(number)
    hypothesis.assume(model is not None)
    other = random_models.Maker(number).model()
    plan = accepted(model, data.draw(rules_for(model, most=2)))
    assert [row.path for row in difflr.Plan(other).rows] == [row.path for row in plan.rows]
    assert difflr.Plan.from_json(other, plan.to_json()) == plan


X = np.random.default_rng(0).normal(size=(4, random_models.WIDTH)).astype("float32")
Y = np.random.default_rng(1).normal(size=(4, random_models.WIDTH)).astype("float32")


def moves(model, optimizer):
    """Each variable of the model, and how far it goes in one step."""
    variables = [row.variable for row in difflr.Plan(model).rows]
    weights = [np.array(value) for value in model.get_weights()]
    before = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    for variable in variables if keras.backend.backend() == "torch" else ():
        variable.value.grad = None  # Keras 3.15 forgets those of layers whose `variable.path` another layer has as well
    try:
        model.compile(optimizer, loss="mse", run_eagerly=True)
        model.train_on_batch(X, Y)
        after = [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]
    finally:
        model.set_weights(weights)
        freeze(difflr.Plan(model, frozen_statistics="update"))  # undoes what the plan froze
    return before, [late - early for early, late in zip(before, after, strict=True)]


@fewer(0.3)
@hypothesis.given(strategies.integers(0, RANDOM - 1), strategies.data())
def test_a_real_step_does_what_the_plan_says(number, data):
    """The gradient's part and the decay's. Statistics are not frozen: the gradients are those of the stock optimizer."""
    model = random_models.made(number)
    hypothesis.assume(model is not None)
    rules = data.draw(rules_for(model))
    accepted(model, rules)
    plan = difflr.Plan(model, rules, frozen_statistics="update")
    hypothesis.assume(not all(row.frozen for row in plan.rows))
    rate, decay = 0.5, 0.25
    _, reference = moves(model, keras.optimizers.SGD(rate))
    start, moved = moves(model, difflr.optimizers.SGD(rate, weight_decay=decay, multipliers=plan))
    for row, early, far, stock in zip(plan.rows, start, moved, reference, strict=True):
        if row.frozen:
            assert not far.any(), row.path
        else:
            factor = row.multiplier * (1 if row.schedule is None else float(row.schedule(0)))
            expected = factor * (stock - rate * decay * row.weight_decay_multiplier * early)
            scale = max(1, factor) * (1 + np.abs(stock).max() + np.abs(early).max())
            np.testing.assert_allclose(far, expected, rtol=1e-4, atol=2e-6 * scale, err_msg=row.path)


def test_the_laws_are_not_vacuous():
    model = BY_HAND["nested"]
    assert difflr.Plan(model, {"head": 0.5}) != difflr.Plan(model, {"head": 0.25})
    assert difflr.Plan(model, {"head": 0.5}) != pytest.approx(3)
    numbers = [number for number in range(12) if random_models.made(number) is not None]
    assert len(numbers) > 4
    assert any(row.aliases for number in numbers for row in difflr.Plan(random_models.made(number)).rows)
    assert len({type(random_models.made(number)) for number in numbers}) == 3
