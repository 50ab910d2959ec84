"""Frozen means frozen: no update, no decay, no state, no gradient; statistics as asked for; and it can be undone."""

import keras
import numpy as np
import pytest

import difflr
from difflr import FROZEN
from optimizers.steps import (
    BACKEND,
    NAMES,
    X,
    assert_same,
    chain,
    fit,
    gradients,
    new_variables,
    ours,
    slow_half,
    stock,
    tensors,
    train,
    values,
)


@pytest.mark.parametrize(("name", "frozen"), [*((name, FROZEN) for name in NAMES), ("AdamW", 0), ("AdamW", 0.0)])
def test_frozen_half_stands_still_and_the_rest_is_stock(name, frozen):
    """With decay and moving averages on, which would move it without a gradient."""
    settings = {"weight_decay": 0.3, "use_ema": True, "ema_overwrite_frequency": 1}
    variables = new_variables()
    start = values(variables)
    optimizer = ours(name, slow_half(variables, frozen), **settings)
    got = train(optimizer, variables)
    assert_same(got[2:], start[2:])
    alone = new_variables()[:2]
    reference = stock(name, **settings)
    for grads in gradients(3):
        reference.apply(tensors(grads[:2]), alone)
    assert_same(got[:2], values(alone))
    assert [variable.trainable for variable in variables] == [True, True, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_no_state_for_frozen_variables(name):
    """What a stock optimizer has for the trainable ones alone, and one number for their group."""
    variables = new_variables()
    optimizer = ours(name, slow_half(variables, FROZEN))
    optimizer.build(variables)
    reference = stock(name)
    reference.build(new_variables()[:2])
    assert [tuple(v.shape) for v in optimizer.variables] == [*(tuple(v.shape) for v in reference.variables), (1,)]


def test_all_frozen_is_an_error():
    variables = new_variables()
    with pytest.raises(ValueError, match="freezes all 4 variables, so there is nothing to train"):
        ours("SGD", 0.0).build(variables)


def test_nothing_to_train_is_an_error_for_who_names_variables():
    variables = new_variables()
    for given in ([difflr.Rule(variables[0], multiplier=0.1)], lambda variable: 0.1, difflr.Plan(variables)):
        with pytest.raises(ValueError, match="built without variables"):
            ours("SGD", given).build([])


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Keras's way from torch to numpy
@pytest.mark.parametrize("multipliers", [None, 0.1])
def test_nothing_to_train_is_a_warning_else(multipliers, tmp_path):
    """On TensorFlow and torch Keras says so itself, on TensorFlow before it builds the optimizer."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Rescaling(0.5)])
    model.compile(difflr.optimizers.Adam(multipliers=multipliers), loss="mse", metrics=["mae"])
    with pytest.warns(UserWarning, match="the optimizer trains nothing|not have any trainable weights"):
        model.fit(np.full((4, 3), 4.0), np.ones((4, 3)), verbose=0)
    assert model.evaluate(np.full((4, 3), 4.0), np.ones((4, 3)), verbose=0)[1] == pytest.approx(1)
    model.save(tmp_path / "model.keras")
    with pytest.warns(UserWarning, match="the optimizer trains nothing"):
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    if model.optimizer.built:
        assert loaded.optimizer.get_config() == model.optimizer.get_config()


@pytest.mark.same_everywhere
@pytest.mark.parametrize("when", ["the plan is made before", "the rules are resolved on build"])
def test_model_lists_only_live_variables(when):
    model = chain()
    start = values(model.weights)
    body = model.get_layer("body")
    given = difflr.Plan(model, {"body": FROZEN}) if when == "the plan is made before" else {body: FROZEN}
    optimizer = difflr.optimizers.Adam(0.1, multipliers=given)
    model.compile(optimizer, loss="mse")
    fit(model, epochs=2)
    assert model.trainable_variables == model.get_layer("head").trainable_variables
    assert body.trainable_variables == []
    assert len(optimizer.variables) == len(["iteration", "learning_rate"]) + 2 * 2 + len(["multipliers"])
    end = values(model.weights)
    assert_same(end[:2], start[:2])
    assert not np.array_equal(end[2], start[2])


@pytest.mark.skipif(BACKEND != "torch", reason="only torch keeps gradients on its variables")
def test_torch_computes_no_gradient():
    model = chain()
    optimizer = difflr.optimizers.SGD(multipliers=difflr.Plan(model, {"body": FROZEN}))
    optimizer.build(model.trainable_variables)
    keras.ops.mean(model(X)).backward()
    body, head = model.get_layer("body"), model.get_layer("head")
    assert [variable.value.grad is None for variable in (body.kernel, head.kernel)] == [True, False]


# -- BatchNormalization -----------------------------------------------------------------------------------------------


def normalized(model_class=keras.Sequential, norm=None):
    norm = norm or keras.layers.BatchNormalization(name="norm")
    layers = [keras.layers.Dense(4, name="body"), norm, keras.layers.Dense(2, name="head")]
    return model_class([keras.Input((3,)), *layers])


def trained(model, plan, epochs=1):
    """Fits with `plan`; returns how far the weights of `norm` moved: gamma, beta, moving mean, moving variance."""
    norm = model.get_layer("norm")
    before = values(norm.weights)
    model.compile(difflr.optimizers.SGD(0.1, multipliers=plan), loss="mse")
    fit(model, epochs)
    return [bool((now != then).any()) for now, then in zip(values(norm.weights), before, strict=True)]


def moves_by_weight(layer, moved):
    return dict(zip([weight.name for weight in layer.weights], moved, strict=True))


ALL = {"gamma": True, "beta": True, "moving_mean": True, "moving_variance": True}
NONE = dict.fromkeys(ALL, False)
STATISTICS = {"gamma": False, "beta": False, "moving_mean": True, "moving_variance": True}


@pytest.mark.parametrize(
    ("rules", "frozen_statistics", "expected"),
    [
        ({"norm": FROZEN}, "keep", NONE),
        ({"norm": FROZEN}, "update", STATISTICS),
        ({"norm": 0.1}, "keep", ALL),
        ({"norm/gamma": FROZEN}, "keep", {**ALL, "gamma": False}),
    ],
    ids=["kept", "updated", "trainable", "half frozen"],
)
def test_statistics(rules, frozen_statistics, expected):
    model = normalized()
    moved = trained(model, difflr.Plan(model, rules, frozen_statistics=frozen_statistics))
    assert moves_by_weight(model.get_layer("norm"), moved) == expected


def test_statistics_are_kept_by_default():
    model = normalized()
    moved = trained(model, difflr.Plan(model, {"norm": FROZEN}))
    assert moves_by_weight(model.get_layer("norm"), moved) == NONE


# -- without a plan: the optimizer is told of variables only, unless it is compiled with a model of difflr -------------

MODELS = [keras.Sequential, difflr.Sequential]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("model_class", MODELS, ids=["keras", "difflr"])
def test_statistics_of_a_layer_in_a_mapping_are_kept(model_class):
    model = normalized(model_class)
    norm = model.get_layer("norm")
    assert moves_by_weight(norm, trained(model, {norm: FROZEN})) == NONE


@pytest.mark.same_everywhere
@pytest.mark.parametrize("model_class", MODELS, ids=["keras", "difflr"])
def test_statistics_of_a_layer_that_declares_zero_are_kept(model_class):
    norm = difflr.layers.BatchNormalization(name="norm", learning_rate_multiplier=0.0)
    assert moves_by_weight(norm, trained(normalized(model_class, norm), None)) == NONE


@pytest.mark.same_everywhere
@pytest.mark.parametrize("model_class", MODELS, ids=["keras", "difflr"])
def test_the_same_mapping_again(model_class):
    model = normalized(model_class)
    norm = model.get_layer("norm")
    for _ in range(2):
        assert moves_by_weight(norm, trained(model, {norm: FROZEN})) == NONE
    assert model.optimizer.multipliers[norm.gamma] == 0


@pytest.mark.same_everywhere
def test_a_mapping_thaws_where_the_model_is_known():
    model = normalized(difflr.Sequential)
    norm = model.get_layer("norm")
    trained(model, {norm: FROZEN})
    assert moves_by_weight(norm, trained(model, {norm: 0.1})) == ALL


@pytest.mark.same_everywhere
def test_a_mapping_says_that_it_cannot_thaw():
    model = normalized()
    norm = model.get_layer("norm")
    trained(model, {norm: FROZEN})
    with pytest.raises(
        ValueError, match=r"An earlier plan froze .*norm/gamma.*multipliers=difflr\.Plan\(model, rules\)"
    ):
        trained(model, {norm: 0.1})
    assert moves_by_weight(norm, trained(model, difflr.Plan(model, {norm: 0.1}))) == ALL


# -- unfreezing ----------------------------------------------------------------------------------------------------------


@pytest.mark.same_everywhere
def test_a_later_plan_unfreezes():
    model = normalized()
    norm = model.get_layer("norm")
    assert moves_by_weight(norm, trained(model, difflr.Plan(model, {"norm": FROZEN, "body": FROZEN}))) == NONE
    assert len(model.trainable_variables) == 2
    assert moves_by_weight(norm, trained(model, difflr.Plan(model, {"body": 0.1}))) == ALL
    assert len(model.trainable_variables) == 6
    assert norm.trainable


@pytest.mark.same_everywhere
def test_what_the_user_froze_stays_frozen():
    model = normalized()
    body, norm = model.get_layer("body"), model.get_layer("norm")
    body.trainable = False
    start = values(body.weights)
    assert moves_by_weight(norm, trained(model, difflr.Plan(model, {"norm": FROZEN}))) == NONE
    assert moves_by_weight(norm, trained(model, difflr.Plan(model))) == ALL
    assert_same(values(body.weights), start)
    assert not body.trainable
    assert len(model.trainable_variables) == 4


@pytest.mark.same_everywhere
def test_user_thaws_what_the_user_froze():
    model = chain()
    body = model.get_layer("body")
    body.trainable = False
    optimizer = difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model))
    model.compile(optimizer, loss="mse")
    fit(model)
    body.trainable = True
    start = values(body.weights)
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model)), loss="mse")
    fit(model)
    assert all((now != then).any() for now, then in zip(values(body.weights), start, strict=True))


def test_making_a_plan_changes_nothing():
    model = chain()
    plan = difflr.Plan(model, {"body": FROZEN})
    assert len(model.trainable_variables) == 4
    difflr.optimizers.SGD(multipliers=plan)
    assert len(model.trainable_variables) == 2
