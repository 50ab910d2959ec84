"""Caffe: published nets table by table, names, and what Caffe refuses."""

import contextlib
import io
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

from difflr.interop import from_caffe
from difflr.interop.caffe.prototxt import read_net, read_solver
from interop.caffe_nets import layer, model_of, net

PUBLISHED = Path(__file__).parent / "prototxt"  # BVLC/caffe 9b891540, with its license


def table(plan):
    """Layer -> (rate, decay) of the weights, and of the bias."""
    found = {}
    for row in plan.rows:
        found.setdefault(row.path.split("/")[0], []).append((row.multiplier, row.weight_decay_multiplier))
    return found


# -- published nets ---------------------------------------------------------------------------------------------------

DOUBLE_BIAS = [(1, 1), (2, 1)]
BVLC = [(1, 1), (2, 0)]
NO_BIAS_DECAY = [(1, 1), (1, 0)]
EIGHT = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8")
CODERS = tuple(f"{side}{number}" for side in ("encode", "decode") for number in (1, 2, 3, 4))
PUBLISHED_TABLES = {
    "bvlc_alexnet__train_val": dict.fromkeys(EIGHT, BVLC),
    "bvlc_reference_caffenet__train_val": dict.fromkeys(EIGHT, BVLC),
    "cifar10_full__train_test": {
        "conv1": DOUBLE_BIAS,
        "conv2": DOUBLE_BIAS,
        "conv3": [(1, 1), (1, 1)],
        "ip1": [(1, 250), (2, 0)],
    },
    "mnist_autoencoder": dict.fromkeys(CODERS, NO_BIAS_DECAY),
    "mnist_lenet__train_test": dict.fromkeys(("conv1", "conv2", "ip1", "ip2"), DOUBLE_BIAS),
    "siamese__train_test": dict.fromkeys(("conv1", "conv2", "ip1", "ip2", "feat"), DOUBLE_BIAS),
}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", PUBLISHED_TABLES)
def test_published_net_comes_out_exactly(name):
    expected = PUBLISHED_TABLES[name]
    translation = from_caffe(PUBLISHED / f"{name}.prototxt", model_of(*expected))
    assert table(translation.plan) == expected
    assert not translation.unmatched
    assert not translation.unmentioned


@pytest.mark.same_everywhere
def test_published_net_without_biases_and_with_batch_norm():
    inputs = keras.Input((8, 8, 3))
    features = inputs
    for number in (1, 2, 3):
        features = keras.layers.Conv2D(4, 3, use_bias=False, name=f"conv{number}")(features)
        features = keras.layers.BatchNormalization(scale=False, center=False, name=f"bn{number}")(features)
    outputs = keras.layers.Dense(2, name="ip1")(keras.layers.Flatten()(features))
    translation = from_caffe(PUBLISHED / "cifar10_full_sigmoid_bn__train_test.prototxt", keras.Model(inputs, outputs))
    assert table(translation.plan) == {
        "conv1": [(1, 1)],
        "conv2": [(1, 1)],
        "conv3": [(1, 1)],
        "ip1": [(1, 1), (1, 0)],
    }
    assert [note.split(":")[0] for note in translation.notes] == ["bn1", "bn2", "bn3"]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", ["bvlc_alexnet", "bvlc_reference_caffenet"])
def test_published_solver(name):
    model = model_of(*EIGHT)
    translation = from_caffe(PUBLISHED / f"{name}__train_val.prototxt", model, PUBLISHED / f"{name}__solver.prototxt")
    config = translation.optimizer.get_config()
    assert {name: config[name] for name in ("momentum", "nesterov", "coupled_weight_decay", "global_clipnorm")} == {
        "momentum": 0.9,
        "nesterov": False,
        "coupled_weight_decay": 0.0005,
        "global_clipnorm": None,
    }
    rates = [float(translation.learning_rate(step)) for step in (0, 99_999, 100_000, 449_999)]
    np.testing.assert_allclose(rates, [1e-2, 1e-2, 1e-3, 1e-6], rtol=1e-6)


# -- the net ----------------------------------------------------------------------------------------------------------

EVERY_SPELLING = [
    layer("a", "lr_mult: 0.1 decay_mult: 3", "lr_mult: 0"),
    'layers { name: "a" type: INNER_PRODUCT blobs_lr: 0.1 blobs_lr: 0 weight_decay: 3 }',
    'layers { layer { name: "a" type: "innerproduct" num_output: 3 weight_filler { type: "constant" value: 0 } '
    'blobs_lr: 0.1 blobs_lr: 0 weight_decay: 3 } bottom: "data" top: "a" }',
]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("text", EVERY_SPELLING)
def test_every_spelling_and_its_defaults(text):
    plan = from_caffe(net(text), model_of("a", "other")).plan
    kernel, bias, *others = plan.rows
    assert (kernel.multiplier, kernel.weight_decay_multiplier) == (0.1, 3)
    assert bias.frozen
    assert all((row.multiplier, row.weight_decay_multiplier) == (1, 1) for row in others)


@pytest.mark.same_everywhere
def test_shared_parameter_has_what_any_layer_sets():
    text = layer("a", 'name: "w" lr_mult: 3'), layer("b", 'name: "w" decay_mult: 0.5')
    expected = {"a": [(3, 0.5), (1, 1)], "b": [(3, 0.5), (1, 1)]}
    assert table(from_caffe(net(*text), model_of("a", "b")).plan) == expected
    one = from_caffe(net(*text), model_of("a"))
    assert table(one.plan) == {"a": expected["a"]}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("axis", ["lr_mult", "decay_mult"])
def test_shared_parameter_with_two_values_is_refused(axis):
    text = net(layer("a", f'name: "w" {axis}: 3'), layer("b", f'name: "w" {axis}: 1'))
    with pytest.raises(ValueError, match=f"'w' has different values of `{axis}`: a param 0 sets 3, b param 0 sets 1"):
        from_caffe(text, model_of("a", "b"))


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("rule", "included"),
    [
        ("include { phase: TRAIN }", True),
        ("include { phase: TEST }", False),
        ("exclude { phase: TRAIN }", False),
        ("exclude { phase: TEST }", True),
        ("include { stage: 'deep' }", True),
        ("include { stage: 'deep' not_stage: 'wide' }", False),
        ("include { stage: 'other' }", False),
        ("include { min_level: 2 }", True),
        ("include { max_level: 1 } include { phase: TEST }", False),
    ],
)
def test_layers_of_the_net_that_trains(rule, included):
    solver = "base_lr: 1 lr_policy: 'fixed' train_state { level: 2 stage: 'deep' stage: 'wide' }"
    text = layer("a", "lr_mult: 5") + "\n" + layer("b", "lr_mult: 5").replace("type:", f"{rule} type:")
    translation = from_caffe(net(text), model_of("a", "b"), io.StringIO(solver))
    assert table(translation.plan)["b"][0] == ((5, 1) if included else (1, 1))


@pytest.mark.same_everywhere
def test_names_with_slashes_and_names_given_by_hand():
    inner = keras.Sequential([keras.layers.Dense(3, name="1x1")], name="inception")
    inputs = keras.Input((4,))
    top = keras.layers.Dense(3, name="conv_7x7")
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(top(inner(inputs))))
    text = net(*(layer(name, "lr_mult: 5") for name in ("inception/1x1", "conv/7x7", "loss3/classifier")))
    with pytest.warns(UserWarning, match="1 of 5 settings from Caffe have no effect on the model: 'loss3/classifier"):
        translation = from_caffe(text, model)
    assert translation.unmatched == ("loss3/classifier param 0",)
    assert [row.path for row in translation.plan.rows if row.multiplier == 5] == [
        "inception/1x1/kernel",
        "conv_7x7/kernel",
    ]
    for target in ("head", model.get_layer("head")):
        text.seek(0)
        plan = from_caffe(text, model, names={"loss3/classifier": target}).plan
        assert plan.row(model.get_layer("head").kernel).multiplier == 5


@pytest.mark.same_everywhere
def test_a_name_of_several_layers_has_to_be_settled():
    inputs = keras.Input((4,))
    towers = [keras.Sequential([keras.layers.Dense(3, name="fc")], name=name) for name in ("left", "right")]
    model = keras.Model(inputs, keras.layers.Add()([tower(inputs) for tower in towers]))
    with pytest.raises(ValueError, match=r"match Caffe's 'fc': left/fc, right/fc.*names=\{'fc': 'left/fc'\}"):
        from_caffe(net(layer("fc", "lr_mult: 5")), model)
    plan = from_caffe(net(layer("fc", "lr_mult: 5")), model, names={"fc": "right/fc"}).plan
    assert plan.row(towers[1].layers[0].kernel).multiplier == 5
    assert plan.row(towers[0].layers[0].kernel).multiplier == 1


@pytest.mark.same_everywhere
def test_batch_norm_and_scale_are_one_layer_in_keras():
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.BatchNormalization(name="bn"), keras.layers.Dense(2, name="fc")]
    )
    text = net(
        'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "x" param { lr_mult: 0 } param { lr_mult: 0 } }',
        'layer { name: "scale" type: "Scale" bottom: "x" top: "x" param { lr_mult: 3 } param { lr_mult: 0.5 } }',
        layer("fc"),
    )
    assert table(from_caffe(text, model).plan)["bn"] == [(3, 1), (0.5, 1)]


@pytest.mark.same_everywhere
def test_a_stopped_gradient_is_noted():
    text = layer("b", "lr_mult: 5").replace("type:", 'bottom: "a" propagate_down: false type:')
    (note,) = from_caffe(net(layer("a"), text), model_of("a", "b")).notes
    assert note.startswith("b: `propagate_down: false` stops the gradient there")


@pytest.mark.same_everywhere
def test_a_label_has_no_gradient_to_stop():
    data = 'layer { name: "data" type: "Data" top: "data" top: "label" }'
    body = layer("a").replace("type:", 'bottom: "data" top: "a" type:')
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "a" bottom: "label" propagate_down: %s }'
    notes = {flags: from_caffe(net(data, body, loss % flags), model_of("a")).notes for flags in ("[1, 0]", "[0, 0]")}
    assert [len(found) for found in notes.values()] == [0, 1]


@pytest.mark.same_everywhere
def test_fixed_statistics_are_noted():
    for part in ("batch_norm_param { use_global_stats: true }", "bn_param { frozen: true momentum: 0.95 }"):
        norm = layer("a", "lr_mult: 0", "lr_mult: 0", kind="BN").replace("type:", f"{part} type:")
        (note,) = from_caffe(net(norm), model_of("a")).notes
        assert note.startswith("a: its statistics are fixed")


@pytest.mark.same_everywhere
def test_a_bias_layer_has_its_bias_first():
    assert table(from_caffe(net(layer("a", "lr_mult: 3", kind="Bias")), model_of("a")).plan)["a"][1] == (3, 1)


@pytest.mark.same_everywhere
def test_what_the_user_froze_stays_frozen():
    model = model_of("a", "b")
    model.get_layer("a").trainable = False
    translation = from_caffe(net(layer("a", "lr_mult: 3"), layer("b", "lr_mult: 3")), model)
    assert translation.frozen_by_user == ("a/kernel", "a/bias")
    assert [row.frozen for row in translation.plan.rows] == [True, True, False, False]


@pytest.mark.same_everywhere
def test_report_says_what_matched_and_what_did_not():
    with pytest.warns(UserWarning, match="nearest: 'conv1'"):
        translation = from_caffe(
            net(layer("conv1", "lr_mult: 3"), layer("conv11", "lr_mult: 3")), model_of("conv1", "head")
        )
    lines = str(translation).splitlines()
    assert lines[0] == "From Caffe: 2 settings took effect, 1 did not."
    assert "  conv1 param 0 -> conv1/kernel" in lines
    assert "Decides nothing: conv11 param 0" in lines
    assert "Not mentioned (multiplier 1): head/kernel" in lines


# -- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (layer("a", "lr_mul: 1"), "unknown field 'lr_mul' in Caffe's ParamSpec.*Did you mean 'lr_mult'"),
        (
            'layer { name: "a" param: [{ lr_mult: 1 }, { lr_mul: 1 }] }',
            "unknown field 'lr_mul' in Caffe's ParamSpec.*Did you mean 'lr_mult'",
        ),
        (
            'layer { name: "a" convolution_param { lr_mult: 1 } }',
            "'lr_mult' inside the settings of a layer.*to `param`",
        ),
        ('layer { name: "a" blobs_lr: 1 }', "unknown field 'blobs_lr' in Caffe's Layer"),
        ("", "has no trainable layer"),
        ("layer { name: 'a' ", "not a net in Caffe's text format: 1:"),
        ("}", "not a net in Caffe's text format: 1:1"),
        (layer("a", "lr_mult: x"), "not a net in Caffe's text format: 1:"),
        (layer("a", "lr_mult: -1"), "finite number >= 0"),
        (layer("a", "lr_mult: nan"), "finite number >= 0"),
        ("a { " * 100, "nested more than 40 deep"),
        ("#" * 4_000_001, "too large"),
        (layer("b", "lr_mult: 1"), "None of the 1 settings from Caffe matches the model"),
    ],
)
def test_bad_net_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_caffe(io.StringIO(text), model_of("a"))


TOKENS = "layer { name: 'a' } param { lr_mult: 2 -1 nan 1e400 layers blobs_lr: < > [ ] ; ' type: { \\ true \x00 [a.b/c]"


@pytest.mark.same_everywhere
@pytest.mark.filterwarnings("ignore:.*fields unknown to Caffe")
@hypothesis.given(st.lists(st.sampled_from(TOKENS.split(" ")), max_size=25), st.booleans())
def test_whatever_stands_in_a_file_it_is_read_or_refused(tokens, in_layer):
    text = " ".join(tokens)
    for read in (read_net, read_solver):
        with contextlib.suppress(ValueError):
            read(io.StringIO(f"layer {{ name: 'a' {text} }}" if in_layer else text))


@pytest.mark.same_everywhere
def test_fields_of_forks_are_ignored_with_a_warning():
    text = 'layer { name: "a" forward_type: FLOAT16 param { lr_mult: 2 } own_param { x < y: [1, 2] > z: "}" } }'
    with pytest.warns(UserWarning, match="ignored: forward_type"):
        translation = from_caffe(io.StringIO(text), model_of("a"))
    assert table(translation.plan) == {"a": [(2, 1), (1, 1)]}


@pytest.mark.same_everywhere
def test_a_misspelt_rate_of_the_oldest_format_is_not_silent():
    with pytest.warns(UserWarning, match="ignored: blob_lr"):
        from_caffe(net('layers { layer { name: "a" blob_lr: 1 } }'), model_of("a"))


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr_policy: 'fixed'", "no `base_lr`"),
        ("base_lr: 1", "`lr_policy` must be 'fixed', 'step'"),
        ("base_lr: 1 lr_policy: 'step' gamma: 0.1", "`stepsize` must be a number >= 1"),
        ("base_lr: 1 lr_policy: 'fixed' momentun: 0.9", "unknown field 'momentun'.*'momentum'"),
        ("base_lr: 1 lr_policy: 'fixed' type: 'Adm'", "`type` must be 'SGD', 'Nesterov'"),
        ("base_lr: 1 lr_policy: 'fixed' type: 'ADAM'", "Did you mean 'Adam'"),
        ("base_lr: 1 lr_policy: 'fixed' type: 'Adam' solver_type: ADAM", "both `type` and the old `solver_type`"),
        ("base_lr: 1 lr_policy: 'fixed' weight_decay: -1", "`weight_decay` must be a finite number >= 0"),
        ("base_lr: 1 lr_policy: 'fixed' type: 'AdaGrad' momentum: 0.9", "AdaGrad has no momentum"),
        ("base_lr: 1 lr_policy: 'fixed' regularization_type: 'L3'", "must be 'L1' or 'L2'"),
        ("base_lr: 1 lr_policy: 'fixed' clip_gradients: 0", "`clip_gradients: 0`"),
        ("base_lr: 1 lr_policy: 'fixed' iter_size: 0", "`iter_size` must be a number >= 1"),
    ],
)
def test_bad_solver_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_caffe(net(layer("a")), model_of("a"), io.StringIO(text))


@pytest.mark.same_everywhere
def test_wrong_sources(tmp_path):
    with pytest.raises(TypeError, match="must be the path of a prototxt"):
        from_caffe(3, model_of("a"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        from_caffe(tmp_path / "binary", model_of("a"))
    with pytest.raises(TypeError, match="binary mode"):
        from_caffe(io.BytesIO(b"layer {}"), model_of("a"))
