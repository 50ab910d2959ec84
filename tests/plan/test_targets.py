import re

import keras
import pytest
from keras import layers

import difflr
from difflr.plan.targets import path_expression
from plan import models_of_all_kinds as kinds

pytestmark = pytest.mark.same_everywhere


def chosen(model, target):
    plan = difflr.Plan(model, [(target, 0.5)])
    return {row.path for row in plan.rows if row.multiplier == 0.5}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("left", {"left/fc/kernel", "left/fc/bias"}),
        ("left/fc/kernel", {"left/fc/kernel"}),
        ("left/", {"left/fc/kernel", "left/fc/bias"}),
        ("*/bias", {"left/fc/bias", "right/fc/bias", "head/bias"}),
        ("*ft/*", {"left/fc/kernel", "left/fc/bias"}),
        ("**/fc", {"left/fc/kernel", "left/fc/bias", "right/fc/kernel", "right/fc/bias"}),
        ("**/head", {"head/kernel", "head/bias"}),
        ("?ead", {"head/kernel", "head/bias"}),
        ("[hl]e*/bias", {"left/fc/bias", "head/bias"}),
        ("[!h]*/bias", {"left/fc/bias", "right/fc/bias"}),
        ("[^h]*/bias", {"left/fc/bias", "right/fc/bias"}),
        ("[h-k]ead", {"head/kernel", "head/bias"}),
    ],
)
def test_patterns(pattern, expected):
    assert chosen(kinds.functional(), pattern) == expected


def test_a_pattern_is_anchored():
    with pytest.raises(ValueError, match="Did you mean 'left/fc' or 'right/fc'"):
        difflr.Plan(kinds.functional(), {"fc": 0.5})


def test_kinds():
    model = kinds.attention()
    assert chosen(model, "kind:embedding") == {"tokens/embeddings"}
    assert chosen(model, "kind:norm") == {"norm/gamma", "norm/beta"}
    assert chosen(model, "kind:head") == {"head/kernel", "head/bias"}
    assert {path.rsplit("/", 1)[1] for path in chosen(model, "kind:bias")} == {"bias"}
    assert {path.rsplit("/", 1)[1] for path in chosen(model, "kind:kernel")} == {"kernel", "recurrent_kernel"}
    assert {"norm/gamma", "head/bias"} < chosen(model, "kind:vector")


def test_head_of_several_outputs_and_of_models_of_code():
    inputs = keras.Input((4,))
    body = layers.Dense(4, name="body")(inputs)
    two = keras.Model(inputs, [layers.Dense(1, name="a")(body), layers.ReLU()(layers.Dense(2, name="b")(body))])
    assert {path.split("/")[0] for path in chosen(two, "kind:head")} == {"a", "b"}
    wrapped = keras.Sequential([keras.Input((4,)), two.__class__.from_config(two.get_config())])
    assert {path.split("/")[1] for path in chosen(wrapped, "kind:head")} == {"a", "b"}


def test_objects_and_functions():
    model = kinds.nested()
    assert chosen(model, model.get_layer("head")) == {"head/kernel", "head/bias"}
    assert chosen(model, model.get_layer("backbone").get_layer("inner").get_layer("a").kernel) == {
        "backbone/inner/a/kernel"
    }
    assert chosen(model, lambda variable: variable.name == "gamma") == {"backbone/inner/bn/gamma"}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("haed", "Did you mean 'head'"),
        ("HEAD", "Did you mean 'head'"),
        ("Backbone/INNER", "Did you mean 'backbone/inner'"),
        ("STEM", "Did you mean 'backbone/stem'"),
        ("kind:BIAS", "Did you mean 'kind:bias'"),
        ("backbone/inner/b", "layer tree begins with: backbone, head"),
        ("kind:bais", "Did you mean 'kind:bias'"),
        ("nothing*", "matches no trainable variable"),
        (layers.ReLU(), "the layer has no weights"),
        (lambda variable: False, "returned False for all 8 variables"),
    ],
)
def test_nothing_matched(target, message):
    with pytest.raises(ValueError, match=message):
        difflr.Plan(kinds.nested(), [(target, 0.5)])


def test_keras_own_path_is_told_apart():
    model = kinds.subclassed()
    variable = model.blocks[0].kernel
    with pytest.raises(ValueError, match=r"variable\.path.*the layer-tree path is 'blocks/0/kernel'"):
        difflr.Plan(model, {variable.path: 0.5})


def test_things_of_other_models():
    other = kinds.functional()
    for target in (other.get_layer("head"), other.get_layer("head").kernel):
        with pytest.raises(ValueError, match="of this model"):
            difflr.Plan(kinds.nested(), [(target, 0.5)])


def test_what_is_no_target():
    with pytest.raises(TypeError, match="A target is a layer"):
        difflr.Plan(kinds.nested(), [(3, 0.5)])


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("**/bias", ["bias", "a/bias", "a/b/bias"], ["a/xbias", "biased"]),
        ("*/bias", ["a/bias", "a/b/bias"], ["bias"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c", "a/c/kernel"], ["ac", "a/bc"]),
        ("a?c", ["abc", "abc/kernel"], ["a/c", "abbc", "ac"]),
        ("[!1-4]", ["5", "5/x", "-"], ["2", "/", "55"]),
        ("[a-c]x", ["bx"], ["-x", "dx"]),
        ("a.b", ["a.b"], ["axb"]),
        ("(a|b)+$^{2}\\", ["(a|b)+$^{2}\\"], ["a"]),
        ("a[", ["a["], ["a"]),
        ("[!]", ["[!]"], ["!", "a"]),
        ("[.^]", [".", "^"], ["a"]),
    ],
)
def test_what_the_signs_mean(pattern, matches, others):
    expression = path_expression(pattern)
    assert [path for path in matches if not expression.fullmatch(path)] == []
    assert [path for path in others if expression.fullmatch(path)] == []


@pytest.mark.parametrize("pattern", ["[z-a]", "*[9-1]/kernel", "[!9-1]"])
def test_a_range_the_wrong_way_round(pattern):
    with pytest.raises(ValueError, match="has a reversed range"):
        difflr.Plan(kinds.functional(), {pattern: 0.5})


def test_a_name_with_brackets_is_matched_as_it_is():
    names = ("block[0]", "block0")
    model = keras.Sequential([keras.Input((2,)), *(layers.Dense(2, name=name) for name in names)])
    assert chosen(model, "block[0]") == {"block[0]/kernel", "block[0]/bias"}


@pytest.mark.parametrize("pattern", ["", "/", "*/bia", "hea", "Head", "left/fc/kernel/x"])
def test_a_pattern_matches_whole_names_only(pattern):
    with pytest.raises(ValueError, match="matches no trainable variable"):
        difflr.Plan(kinds.functional(), {pattern: 0.5})


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("kernel", "conv/depthwise_kernel conv/pointwise_kernel spectral/kernel head/kernel"),
        ("bias", "conv/bias spectral/layer/bias head/bias"),
        ("norm", "bn/gamma bn/beta rms/scale"),
        ("vector", "conv/bias bn/gamma bn/beta rms/scale spectral/layer/bias head/bias"),
    ],
)
def test_kinds_of_rarer_layers(kind, expected):
    inputs = keras.Input((4, 3))
    x = layers.BatchNormalization(name="bn")(layers.SeparableConv1D(3, 2, name="conv")(inputs))
    x = layers.SpectralNormalization(layers.Dense(2), name="spectral")(layers.RMSNormalization(name="rms")(x))
    assert chosen(keras.Model(inputs, layers.Dense(2, name="head")(x)), f"kind:{kind}") == set(expected.split())


def test_kinds_of_variables_without_a_model():
    names = ("kernel", "gamma", "embeddings", "bias")
    variables = [keras.Variable([1.0] if name == "bias" else [[1.0]], name=name) for name in names]
    for kind, name in (("kernel", "kernel"), ("bias", "bias"), ("vector", "bias")):
        assert chosen(variables, f"kind:{kind}") == {name}
    with pytest.raises(ValueError, match="'kind:head' is found from the model's graph"):
        difflr.Plan(variables, {"kind:head": 0.5})


def test_statistics_cannot_be_trained():
    model = kinds.nested()
    statistics = model.get_layer("backbone").get_layer("bare").moving_mean
    with pytest.raises(ValueError, match="was created as non-trainable"):
        difflr.Plan(model, [(statistics, 0.5)])


def test_a_layer_that_is_not_built():
    with pytest.raises(ValueError, match=r"the layer has no weights \(it is not built\)"):
        difflr.Plan(kinds.nested(), {layers.Dense(1): 0.5})


def test_a_shared_layer_as_target_is_all_its_paths():
    model = kinds.shared()
    assert chosen(model, model.get_layer("first").get_layer("shared")) == {"first/shared/kernel", "first/shared/bias"}


# -- lists, classes, everything but --------------------------------------------------------------------------------


def body():
    names = ("a", "b", "c")
    parts = [part for name in names for part in (layers.Dense(3, name=name), layers.ReLU(name=f"{name}_relu"))]
    return keras.Sequential(
        [keras.Input((3,)), *parts, layers.BatchNormalization(name="bn"), layers.Dense(2, name="head")]
    )


def test_a_list_is_all_that_any_of_it_names():
    model = body()
    target = [model.get_layer("a"), "b/bias", [model.get_layer("c").kernel, "kind:norm"]]
    assert chosen(model, target) == {"a/kernel", "a/bias", "b/bias", "c/kernel", "bn/gamma", "bn/beta"}
    assert chosen(model, tuple(target)) == chosen(model, target)
    plan = difflr.Plan(model, {("a", "b"): 0.5})
    assert [row.path for row in plan.rows if row.multiplier == 0.5] == ["a/kernel", "a/bias", "b/kernel", "b/bias"]


def test_each_of_a_list_has_to_name_something():
    with pytest.raises(ValueError, match="The rule for 'd' matches no trainable variable"):
        chosen(body(), ["a", "d"])
    with pytest.raises(ValueError, match="A list of targets is empty"):
        chosen(body(), [])


@pytest.mark.parametrize("form", ["pairs", "list", "chunks"])
def test_layers_without_weights_among_others_are_passed_over(form):
    model = body()
    first = model.layers[:4]
    rules = {
        "pairs": [(layer, 0.5) for layer in first],
        "list": [(first, 0.5)],
        "chunks": [(first[1:2], 0.5), (first[:1], 0.5), (first[2:], 0.5)],
    }[form]
    plan = difflr.Plan(model, rules)
    assert [row.path for row in plan.rows if row.multiplier == 0.5] == ["a/kernel", "a/bias", "b/kernel", "b/bias"]


@pytest.mark.parametrize(
    "rules",
    [
        lambda relu: {relu: 0.5},
        lambda relu: {relu: 0.5, "a": 0.1},
        lambda relu: [([relu, "a"], 0.5)],
        lambda relu: {difflr.everything_but(relu): 0.5},
    ],
)
def test_a_layer_without_weights_alone_is_an_error(rules):
    model = body()
    with pytest.raises(ValueError, match="layer a_relu matches no trainable variable: the layer has no weights"):
        difflr.Plan(model, rules(model.get_layer("a_relu")))


def test_a_layer_of_another_model_or_unbuilt_is_an_error_among_others_too():
    model, other = body(), body()
    with pytest.raises(ValueError, match="layer a matches no trainable variable of this model"):
        difflr.Plan(model, [([model.get_layer("b"), other.get_layer("a")], 0.5)])
    with pytest.raises(ValueError, match="it is not built"):
        difflr.Plan(model, [([model.get_layer("b"), layers.Dense(1)], 0.5)])


def with_bare_norm():
    bare = layers.BatchNormalization(scale=False, center=False, name="bare")
    return keras.Sequential([keras.Input((3,)), layers.Dense(3, name="a"), bare, layers.Dense(2, name="head")])


def test_a_layer_with_statistics_alone_can_be_frozen_and_nothing_else():
    model = with_bare_norm()
    bare = model.get_layer("bare")
    for target in (bare, "bare", layers.BatchNormalization):
        assert [each.frozen for each in difflr.Plan(model, [(target, difflr.FROZEN)]).statistics] == [True]
        with pytest.raises(ValueError, match=r"has moving statistics but nothing to train, so it can only be frozen"):
            difflr.Plan(model, [(target, 0.5)])
    plan = difflr.Plan(model, [(layer, 0.5) for layer in model.layers[:2]])
    assert [row.multiplier for row in plan.rows] == [0.5, 0.5, 1, 1]
    assert not plan.statistics[0].frozen


def test_a_layer_class_is_all_its_layers_with_what_is_in_them():
    model = kinds.attention()
    assert {path.split("/")[0] for path in chosen(model, layers.Embedding)} == {"tokens"}
    assert chosen(model, layers.MultiHeadAttention) == chosen(model, "attend")
    nested = kinds.nested()
    assert chosen(nested, keras.Sequential) == chosen(nested, "backbone")  # the layers in the model, not the model


def test_a_class_without_layers_names_those_that_have():
    with pytest.raises(
        ValueError, match=r"layers of class GRU matches no .*of these classes: Dense, BatchNormalization\."
    ):
        difflr.Plan(body(), {layers.GRU: 0.5})
    with pytest.raises(ValueError, match=r"class Dense are found in a model.*difflr\.Plan\(model, rules\)"):
        difflr.Plan(body().trainable_variables, {layers.Dense: 0.5})
    with pytest.raises(TypeError, match="A target is a layer"):
        difflr.Plan(body(), {int: 0.5})


def test_everything_but():
    model = body()
    everything = {row.path for row in difflr.Plan(model).rows}
    for targets in (
        ["head"],
        [model.get_layer("head")],
        ["kind:bias", layers.BatchNormalization],
        [["a", "b"], "c/bias"],
    ):
        assert chosen(model, difflr.everything_but(*targets)) == everything - chosen(model, targets)
    assert chosen(model, ["head/bias", difflr.everything_but("head")]) == everything - {"head/kernel"}
    shared = kinds.shared()  # a variable is left out if any of its paths is
    assert chosen(shared, difflr.everything_but("second")) == chosen(shared, ["head"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda: difflr.everything_but(), "needs at least one target"),
        (lambda: difflr.everything_but("haed"), "Did you mean 'head'"),
        (
            lambda: difflr.everything_but("*"),
            "everything but '\\*' matches no trainable variable: nothing else is left",
        ),
    ],
)
def test_everything_but_what_is_wrong(target, message):
    with pytest.raises(ValueError, match=message):
        difflr.Plan(body(), {target(): 0.5})


def test_an_error_names_targets_as_they_are_written():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(3, name="Body"), layers.Dense(2, name="head")])
    with pytest.raises(ValueError, match=r"Rule 1: 'Body' has no effect: overridden by rule 2: '\*'"):
        difflr.Plan(model, {"Body": 0.1, "*": 0.5})


def base_and_model():
    """A base that shares all its layers with the model on top of it, and is not a layer of it."""
    base_input = keras.Input((4,))
    x = layers.BatchNormalization(scale=False, center=False, name="whiten")(layers.Dense(3, name="low")(base_input))
    base = keras.Model(base_input, layers.Dense(3, name="high")(x), name="base")
    return base, keras.Model(base.input, layers.Dense(2, name="head")(base.output))


def test_a_model_that_shares_its_layers_is_a_target():
    base, model = base_and_model()
    assert chosen(model, base) == {"low/kernel", "low/bias", "high/kernel", "high/bias"}
    assert chosen(model, difflr.everything_but(base)) == {"head/kernel", "head/bias"}
    assert difflr.Plan(model, {base: difflr.FROZEN}).statistics[0].frozen
    assert not difflr.Plan(model, {model.get_layer("low"): difflr.FROZEN}).statistics[0].frozen


def test_objects_of_another_model_get_their_namesakes():
    (_, model), (_, other) = base_and_model(), base_and_model()
    with pytest.raises(ValueError, match=r"layer is not in it.* Did you mean 'low'\?"):
        difflr.Plan(model, {other.get_layer("low"): 0.5})
    nested = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="low")], name="nest")
    with pytest.raises(ValueError, match=r"another model.* Did you mean 'low/kernel'\?"):
        difflr.Plan(model, [(nested.layers[0].kernel, 0.5)])


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("left/fc/quantizer_scale", r"In 'left/fc' are: bias, kernel\."),
        ("left/.*/kernel", "not a regular expression"),
        ("(left|right)", "alternatives are a list of targets"),
        ("left,right", "alternatives are a list of targets"),
    ],
)
def test_what_is_said_of_a_path_that_matches_nothing(target, hint):
    with pytest.raises(ValueError, match=hint):
        difflr.Plan(kinds.functional(), {target: 0.5})


def test_a_weight_that_never_trains_and_the_model_itself():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(name="norm")], name="network")
    with pytest.raises(ValueError, match="created as non-trainable, like moving statistics"):
        difflr.Plan(model, {"norm/moving_mean": 0.5})
    with pytest.raises(ValueError, match=r"name of the model itself: '\*'"):
        difflr.Plan(model, {"network": 0.5})


@pytest.mark.parametrize(("target", "fix"), [(re.compile("left"), "lambda variable"), ({"left", "right"}, r"list\(")])
def test_what_is_no_target_but_easily_made_one(target, fix):
    with pytest.raises(TypeError, match=fix):
        difflr.Plan(kinds.functional(), [(target, 0.5)])
