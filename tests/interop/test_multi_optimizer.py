"""Keras's MultiOptimizer, there and back, and the pairs of TensorFlow Addons: against the peer itself by steps."""

import keras
import numpy as np
import pytest

import difflr
from difflr.interop import from_multi_optimizer, from_tfa, to_multi_optimizer
from optimizers.steps import assert_close, chain, fit, values

has_multi_optimizer = pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="since Keras 3.15")


def adamw(rate, decay=0.1, **settings):
    return keras.optimizers.AdamW(rate, weight_decay=decay, **settings)


def trained(model, optimizer):
    model.compile(optimizer, loss="mse")
    return values(fit(model, epochs=3).variables)


@has_multi_optimizer
def test_multi_optimizer_becomes_one_that_steps_alike():
    optimizer_map = keras.optimizers.OptimizerMap(
        adamw(1e-2), {".*body/.*": adamw(1e-3), ".*head/bias": adamw(1e-2, 0.0)}
    )
    model = chain()
    translation = from_multi_optimizer(optimizer_map, model)
    assert [(row.multiplier, row.weight_decay_multiplier) for row in translation.plan.rows] == [
        (0.1, 1.0),
        (0.1, 1.0),
        (1.0, 1.0),
        (1.0, 0.0),
    ]
    assert translation.matched == {".*body/.*": ("body/kernel", "body/bias"), ".*head/bias": ("head/bias",)}
    expected = trained(chain(), keras.optimizers.MultiOptimizer(optimizer_map))
    assert_close(trained(model, translation.optimizer), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.same_everywhere
@has_multi_optimizer
def test_plan_becomes_a_multi_optimizer_that_steps_alike():
    rules = {"body": 0.1, "body/bias": {"weight_decay_multiplier": 0.0}, "head/bias": difflr.FROZEN}
    model, other = chain(), chain()
    expected = trained(model, difflr.optimizers.AdamW(1e-2, weight_decay=0.1, multipliers=difflr.Plan(model, rules)))
    optimizer = to_multi_optimizer(difflr.Plan(other, rules), adamw(1e-2))
    assert_close(trained(other, optimizer), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.same_everywhere
@has_multi_optimizer
def test_multi_optimizer_itself_and_a_function_are_taken():
    optimizer_map = keras.optimizers.OptimizerMap(adamw(1e-2), {".*body/.*": adamw(1e-3)})
    sources = (keras.optimizers.MultiOptimizer(optimizer_map), lambda v: adamw(1e-3 if "body" in v.path else 1e-2))
    for source in sources:
        plan = from_multi_optimizer(source, chain()).plan
        assert plan.row(plan.rows[2].variable).multiplier / plan.rows[0].multiplier == pytest.approx(10)
    model = chain()
    back = from_multi_optimizer(to_multi_optimizer(difflr.Plan(model, {"head": 3.0}), adamw(1e-2)), model)
    assert [row.multiplier for row in back.plan.rows] == pytest.approx([1 / 3, 1 / 3, 1, 1])


@pytest.mark.same_everywhere
@has_multi_optimizer
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # `pytest.warns` lets Keras's through as the test's own
def test_keys_that_match_twice_and_keys_that_match_nothing():
    both = {".*body/.*": adamw(1e-3), ".*/kernel": adamw(1e-3)}
    with pytest.raises(ValueError, match="Multiple optimizers assigned"):
        from_multi_optimizer(keras.optimizers.OptimizerMap(adamw(1e-2), both), chain())
    absent = {".*body/.*": adamw(1e-3), ".*bodi/.*": adamw(1e-3)}
    with pytest.warns(UserWarning, match=r"have no effect on the model: '.\*bodi/"):
        from_multi_optimizer(keras.optimizers.OptimizerMap(adamw(1e-2), absent), chain())


@pytest.mark.same_everywhere
@has_multi_optimizer
def test_keys_of_another_model_are_shown_the_paths_that_keras_sees():
    """Of a Sequential model they begin with its name, so that `body/.*` matches nothing: in Keras, silently."""
    absent = {"body/.*": adamw(1e-3)}
    with pytest.raises(ValueError, match=r"have these names there: sequential(_\d+)?/body/kernel, "):
        from_multi_optimizer(keras.optimizers.OptimizerMap(adamw(1e-2), absent), chain())


@pytest.mark.same_everywhere
@has_multi_optimizer
@pytest.mark.parametrize(
    ("slow", "message"),
    [
        (keras.optimizers.Adam(1e-3), "differ in their class|differ in"),
        (adamw(1e-3, beta_1=0.8), "differ in beta_1"),
        (adamw(keras.optimizers.schedules.ExponentialDecay(1e-3, 2, 0.5)), "different schedules"),
    ],
)
def test_optimizers_that_differ_in_more_than_the_rate(slow, message):
    with pytest.raises(ValueError, match=message):
        from_multi_optimizer(keras.optimizers.OptimizerMap(adamw(1e-2), {".*body/.*": slow}), chain())


@pytest.mark.same_everywhere
def test_what_a_multi_optimizer_cannot_say():
    schedule = keras.optimizers.schedules.ExponentialDecay(1.0, 2, 0.5)
    for rules, rate in (({"body": schedule}, 1e-2), ({"body": 0.1}, schedule)):
        with pytest.raises(ValueError, match="cannot express a schedule times a multiplier"):
            to_multi_optimizer(difflr.Plan(chain(), rules), adamw(rate))
    with pytest.raises(TypeError, match=r"must be a MultiOptimizer, an OptimizerMap or a function"):
        from_multi_optimizer(adamw(1e-2), chain())
    with pytest.raises(TypeError, match="must be a Keras optimizer"):
        from_multi_optimizer(lambda variable: 0.1, chain())


@pytest.mark.same_everywhere
@has_multi_optimizer
@pytest.mark.parametrize("wrapped", [False, True])
def test_excluded_variables_do_not_decay(wrapped):
    """Against the MultiOptimizer itself: exclusions are in no config."""

    def optimizers():
        slow, fast = adamw(1e-3, 0.5), adamw(1e-2, 0.5)
        slow.exclude_from_weight_decay(var_names=["bias"])
        return keras.optimizers.OptimizerMap(fast, {".*body/.*": slow})

    model = chain()
    source = keras.optimizers.MultiOptimizer(optimizers()) if wrapped else optimizers()
    translation = from_multi_optimizer(source, model)
    assert [row.weight_decay_multiplier for row in translation.plan.rows] == [1, 0, 1, 1]
    expected = trained(chain(), keras.optimizers.MultiOptimizer(optimizers()))
    assert_close(trained(model, translation.optimizer), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.same_everywhere
@has_multi_optimizer
def test_exclusions_survive_both_ways():
    stock = adamw(1e-2)
    stock.exclude_from_weight_decay(var_names=["bias"])
    model = chain()
    back = from_multi_optimizer(to_multi_optimizer(difflr.Plan(model, {"body": 0.1}), stock), model)
    assert [row.weight_decay_multiplier for row in back.plan.rows] == [1, 0, 1, 0]
    assert [row.weight_decay_multiplier for row in from_tfa([(stock, model.layers)], model).plan.rows] == [1, 0, 1, 0]


@pytest.mark.same_everywhere
def test_a_wrong_form_is_named():
    model, stock = chain(), adamw(1e-2)
    for call, message in (
        (lambda: from_multi_optimizer({".*": stock}, model), "must be a MultiOptimizer, an OptimizerMap or a function"),
        (lambda: from_multi_optimizer(None, model), "must be a MultiOptimizer, an OptimizerMap or a function"),
        (lambda: from_tfa([stock], model), "Each entry must be a pair"),
        (lambda: from_tfa([(stock, "body")], model), "must be a layer or a list of layers. Received: 'body'"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


@pytest.mark.same_everywhere
@has_multi_optimizer
def test_a_key_that_is_no_regular_expression():
    with pytest.raises(ValueError, match=r"'body\(', which is not a regular expression"):
        from_multi_optimizer(keras.optimizers.OptimizerMap(adamw(1e-2), {"body(": adamw(1e-3)}), chain())


@pytest.mark.same_everywhere
def test_global_clipping_is_one_norm_now_and_the_report_says_so():
    optimizers = [adamw(1e-2, global_clipnorm=1.0), adamw(1e-3, global_clipnorm=1.0)]
    translation = from_multi_optimizer(lambda v: optimizers["body" in v.path], chain())
    assert translation.notes == ("global_clipnorm: one norm over all gradients, instead of one per optimizer",)


# -- TensorFlow Addons ------------------------------------------------------------------------------------------------


def test_tfa_pairs_train_their_layers_and_nothing_else():
    """SGD from the same gradient: each kernel moves by its optimizer's rate."""
    model = chain()
    body, head = model.layers
    translation = from_tfa([(keras.optimizers.SGD(1e-2), body)], model)
    assert [row.frozen for row in translation.plan.rows] == [False, False, True, True]
    before = values(model.variables)
    after = trained(model, translation.optimizer)
    assert [bool(np.abs(late - early).max()) for early, late in zip(before, after, strict=True)] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.same_everywhere
def test_tfa_lists_of_layers_and_nested_models():
    inner = keras.Sequential([keras.layers.Dense(3, name="a"), keras.layers.Dense(3, name="b")], name="inner")
    model = keras.Sequential(
        [keras.Input((3,)), inner, keras.layers.Dense(3, name="c"), keras.layers.Dense(2, name="d")]
    )
    pairs = [(keras.optimizers.Adam(1e-4), inner), (keras.optimizers.Adam(1e-2), model.layers[1:])]
    translation = from_tfa(pairs, model)
    assert [row.multiplier for row in translation.plan.rows] == [0.01] * 4 + [1] * 4
    assert translation.learning_rate == 1e-2
    with pytest.raises(ValueError, match="inner/a/kernel is listed by pair 1.* and pair 3"):
        from_tfa([*pairs, (keras.optimizers.Adam(1e-2), inner.layers[0])], model)
