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
    with pytest.raises(ValueError, match="has a range the wrong way round"):
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
    for kind, name in (("kernel", "kernel"), ("norm", "gamma"), ("embedding", "embeddings"), ("vector", "bias")):
        assert chosen(variables, f"kind:{kind}") == {name}
    with pytest.raises(ValueError, match="'kind:head' is found from the model's graph"):
        difflr.Plan(variables, {"kind:head": 0.5})


def test_statistics_cannot_be_trained():
    model = kinds.nested()
    statistics = model.get_layer("backbone").get_layer("bare").moving_mean
    with pytest.raises(ValueError, match="was never made to be trained"):
        difflr.Plan(model, [(statistics, 0.5)])


def test_a_layer_that_is_not_built():
    with pytest.raises(ValueError, match=r"the layer has no weights \(it is not built\)"):
        difflr.Plan(kinds.nested(), {layers.Dense(1): 0.5})


def test_a_shared_layer_as_target_is_all_its_paths():
    model = kinds.shared()
    assert chosen(model, model.get_layer("first").get_layer("shared")) == {"first/shared/kernel", "first/shared/bias"}
