"""The forms in which `multipliers=` may be given, and what it says to those it cannot be."""

import functools

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers import SGD
from optimizers.steps import assert_same, chain, new_variables, ours, train, values


def resolved(multipliers, model=None):
    """Layer-tree path (here: layer and variable name) -> multiplier, once the optimizer is built."""
    model = model or chain()
    optimizer = SGD(multipliers=multipliers(model) if callable(multipliers) else multipliers)
    optimizer.build(model.trainable_variables)
    return {"/".join(v.path.split("/")[-2:]): number for v, number in optimizer.multipliers.items()}


BODY_SLOW = {"body/kernel": 0.1, "body/bias": 0.1, "head/kernel": 1.0, "head/bias": 1.0}


def by_name(variable):
    return 0.1 if "body" in variable.path else 1.0


@pytest.mark.parametrize(
    "multipliers",
    [
        lambda model: difflr.Plan(model, {"body": 0.1}),
        lambda model: {model.get_layer("body"): 0.1},
        lambda model: {model.get_layer("body"): {"multiplier": 0.1}},
        lambda model: [(model.get_layer("body"), 0.1)],
        lambda model: [(variable, 0.1) for variable in model.get_layer("body").weights],
        lambda model: [difflr.Rule(model.get_layer("body"), multiplier=0.1)],
        lambda model: difflr.Rule(model.get_layer("body"), multiplier=0.1),
        lambda model: difflr.VariableMapping([(variable, 0.1) for variable in model.get_layer("body").weights]),
        lambda model: difflr.Plan(model, {"body": 0.1}).multipliers,
        lambda model: by_name,
        lambda model: lambda variable: np.float32(0.1).item() if "body" in variable.path else 1,
        lambda model: functools.partial(lambda low, variable: low if "body" in variable.path else 1.0, 0.1),
    ],
    ids=[
        "plan",
        "layer",
        "layer with axes",
        "pair with a layer",
        "pairs with variables",
        "rules",
        "rule",
        "variable mapping",
        "a plan's multipliers",
        "function",
        "lambda",
        "partial",
    ],
)
def test_forms(multipliers):
    got = resolved(multipliers)
    assert {path: pytest.approx(number, rel=1e-6) for path, number in got.items()} == BODY_SLOW


@pytest.mark.parametrize("number", [2, 0.5, np.float32(0.5), np.float64(0.25), np.int64(3)], ids=repr)
def test_one_number(number):
    got = resolved(number)
    assert set(got.values()) == {float(number)}
    assert len(got) == 4


def test_nothing_is_one_everywhere():
    assert set(resolved(None).values()) == {1.0}


def declaring_model(model_class=keras.Sequential):
    body = difflr.layers.Dense(4, name="body", W_learning_rate_multiplier=0.1, b_learning_rate_multiplier=0.2)
    return model_class([keras.Input((3,)), body, keras.layers.Dense(2, name="head")])


def test_nothing_is_what_layers_declare_in_a_plain_keras_model():
    expected = {"body/kernel": 0.1, "body/bias": 0.2, "head/kernel": 1.0, "head/bias": 1.0}
    assert resolved(None, declaring_model()) == expected


def test_one_number_multiplies_what_layers_declare():
    assert list(resolved(0.5, declaring_model()).values()) == [0.05, 0.1, 0.5, 0.5]


def test_rules_come_after_what_layers_declare():
    model = declaring_model()
    assert list(resolved({model.get_layer("body"): 0.3}, model).values()) == [0.3, 0.3, 1.0, 1.0]


def test_path_rules_where_the_model_is_known():
    """`compile` of difflr's own models tells the optimizer its model."""
    model = declaring_model(difflr.Sequential)
    optimizer = SGD(multipliers={"body/bias": 0.4, "kind:kernel": 0.5})
    model.compile(optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    assert list(optimizer.multipliers.values()) == [0.5, 0.4, 0.5, 1.0]


def test_path_rules_where_it_is_not():
    model = chain()
    with pytest.raises(ValueError, match=r"only variables are known here, no model.*difflr\.Plan\(model, rules\)"):
        SGD(multipliers={"body": 0.1}).build(model.trainable_variables)


def test_later_rules_win():
    variables = new_variables()
    optimizer = SGD(multipliers=[(variables[0], 0.1), (lambda variable: True, 0.5), (variables[1], 0.2)])
    with pytest.raises(ValueError, match="has no effect"):
        optimizer.build(variables)
    optimizer = SGD(multipliers=[(lambda variable: True, 0.5), (variables[1], 0.2)])
    optimizer.build(variables)
    assert list(optimizer.multipliers.values()) == [0.5, 0.2, 0.5, 0.5]


def test_the_same_numbers_in_every_form_train_alike():
    forms = [
        lambda variables: [(variable, 0.3) for variable in variables],
        lambda variables: 0.3,
        lambda variables: lambda variable: 0.3,
        lambda variables: difflr.Plan(variables) * 0.3,
    ]
    results = []
    for form in forms:
        variables = new_variables()
        results.append(train(ours("Adam", form(variables)), variables))
    for result in results[1:]:
        assert_same(result, results[0])


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ("0.1", TypeError, r"a Plan|difflr\.Plan, a mapping from layers or variables.*Received: '0.1'"),
        ("body", TypeError, r"For path patterns make a plan: multipliers=difflr\.Plan\(model, \{'backbone': 0.1\}\)"),
        (True, ValueError, r"`multipliers` must be a finite number >= 0.*To freeze, use `difflr\.FROZEN`"),
        (-0.1, ValueError, r"Received: -0.1\. 0 freezes"),
        (float("nan"), ValueError, r"finite number >= 0, such as 0.1\. Received: nan"),
        (float("inf"), ValueError, r"finite number >= 0, such as 0.1\. Received: inf"),
        (keras.layers.Dense, ValueError, r"`multipliers` must be a finite number.*of type type"),
        (keras.optimizers.SGD, ValueError, r"`multipliers` must be a finite number.*of type type"),
        (lambda: 0.1, TypeError, r"takes one variable and returns its multiplier"),
        (lambda variable, layer: 0.1, TypeError, r"takes one variable and returns its multiplier"),
        (
            [0.1, 0.2],
            TypeError,
            r"A list of rules holds difflr\.Rule objects or \(target, value\) pairs\. Received: 0.1",
        ),
        ({"plan": {"rows": []}}, ValueError, r"not a difflr plan: expected the format"),
        (object(), ValueError, r"`multipliers` must be a finite number.*of type object"),
    ],
    ids=lambda each: type(each).__name__ if callable(each) or type(each) is object else repr(each)[:30],
)
def test_what_it_cannot_be(given, error, said):
    with pytest.raises(error, match=said):
        SGD(multipliers=given)


def test_a_layer_alone_or_a_model():
    for thing in (keras.layers.Dense(2), chain()):
        with pytest.raises(TypeError, match=r"`multipliers` must be a difflr\.Plan, a mapping from layers"):
            SGD(multipliers=thing)


@pytest.mark.parametrize("value", [-1.0, float("nan"), True, "0.1", None], ids=repr)
@pytest.mark.parametrize("target", ["layer", "variable"])
def test_bad_values_in_a_mapping_are_refused_at_once(target, value):
    layer = chain().get_layer("body")
    with pytest.raises(ValueError, match=r"multiplier of (layer body|variable .*kernel).* must be a finite number"):
        SGD(multipliers=[(layer if target == "layer" else layer.kernel, value)])


@pytest.mark.parametrize("value", [-1.0, float("nan"), True, "0.1", None], ids=repr)
def test_bad_values_of_a_function_name_the_variable(value):
    def my_rates(variable):
        return value

    with pytest.raises(ValueError, match=r"my_rates\(fast_kernel\)` must be a finite number"):
        SGD(multipliers=my_rates).build(new_variables())


def test_plan_of_another_model():
    plan = difflr.Plan(chain(), {"body": 0.1})
    with pytest.raises(ValueError, match=r"does not cover 4 of the 4 variables .*Make a plan for this model"):
        SGD(multipliers=plan).build(chain().trainable_variables)


def test_layer_of_another_model():
    with pytest.raises(ValueError, match=r"layer body matches no trainable variable"):
        SGD(multipliers={chain().get_layer("body"): 0.1}).build(chain().trainable_variables)


def test_layer_that_is_not_built():
    with pytest.raises(ValueError, match=r"has no weights \(it is not built\)"):
        SGD(multipliers={keras.layers.Dense(2, name="new"): 0.1}).build(chain().trainable_variables)


def test_plan_for_more_than_the_optimizer_trains():
    """One plan for a model of which this optimizer trains a part, as inside a MultiOptimizer."""
    model = chain()
    start = values(model.weights)
    optimizer = SGD(1.0, multipliers=difflr.Plan(model, {"head": 0.5}))
    head = model.get_layer("head")
    optimizer.apply([keras.ops.ones(variable.shape) for variable in head.weights], head.weights)
    end = values(model.weights)
    assert_same(end[:2], start[:2])
    np.testing.assert_allclose(start[2] - end[2], np.full((4, 2), 0.5), rtol=1e-5)


@pytest.mark.same_everywhere
class TestWhereItIsGiven:
    def test_by_position_a_plan_would_be_a_beta(self):
        plan = difflr.Plan(chain(), {"body": 0.1})
        for wrong in (plan, {"body": 0.1}, difflr.Rule("body", multiplier=0.1)):
            with pytest.raises(TypeError, match=r"multipliers=.*Received as `beta_1`"):
                difflr.optimizers.Adam(1e-3, wrong)
        for wrong in (plan, {"body": 0.1}):
            with pytest.raises(TypeError, match="Received as `learning_rate`"):
                difflr.optimizers.Adam(learning_rate=wrong)

    @pytest.mark.parametrize(("name", "meant"), [("plan", "multipliers"), ("lr", "learning_rate")])
    def test_by_another_name(self, name, meant):
        with pytest.raises((TypeError, ValueError), match=rf"Did you mean '{meant}'\?"):
            SGD(**{name: 0.1})

    @pytest.mark.parametrize("name", ["multipliers", "multiplier", "plan", "hyperparameters", "lr"])
    def test_as_an_attribute_it_would_have_no_effect(self, name):
        with pytest.raises(AttributeError, match=rf"`{name}` of SGD cannot be set"):
            setattr(SGD(), name, 0.1)

    def test_a_subclass_may_have_its_own_attributes(self):
        class Own(SGD):
            def __init__(self, lr):
                super().__init__(lr)
                self.lr = lr

        assert Own(0.1).lr == 0.1

    def test_layer_classes_are_keys_of_the_current_multipliers(self):
        model = chain()
        optimizer = SGD(multipliers=difflr.Plan(model, {"body": 0.1}))
        optimizer.build(model.trainable_variables)
        optimizer.multipliers[keras.layers.Dense] = 0.5
        assert [optimizer.multipliers[variable] for variable in model.trainable_variables] == [0.5] * 4
