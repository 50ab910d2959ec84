"""Caffe: published nets table by table, what Caffe refuses, and its update against numpy."""

import contextlib
import io
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest

import difflr
from difflr.interop import CaffeSchedule, from_caffe
from difflr.interop.caffe.prototxt import read_net, read_solver

PUBLISHED = Path(__file__).parent / "prototxt"  # BVLC/caffe 9b891540, with its licence


def model_of(*names, bias=True):
    """A model with a Dense layer of each name, side by side."""
    inputs = keras.Input((4,))
    outputs = [keras.layers.Dense(3, use_bias=bias, name=name)(inputs) for name in names]
    return keras.Model(inputs, keras.layers.Concatenate()(outputs) if len(outputs) > 1 else outputs[0])


def table(plan):
    """Layer -> (rate, decay) of the weights, and of the bias."""
    found = {}
    for row in plan.rows:
        found.setdefault(row.path.split("/")[0], []).append((row.multiplier, row.weight_decay_multiplier))
    return found


def net(*layers):
    return io.StringIO("\n".join(layers))


def layer(name, *params, kind="InnerProduct"):
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(f"param {{ {p} }}" for p in params)} }}'


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

EITHER_SPELLING = [
    layer("a", "lr_mult: 0.1 decay_mult: 3", "lr_mult: 0"),
    'layers { name: "a" type: INNER_PRODUCT blobs_lr: 0.1 blobs_lr: 0 weight_decay: 3 }',
]


@pytest.mark.same_everywhere
@pytest.mark.parametrize("text", EITHER_SPELLING)
def test_both_spellings_and_their_defaults(text):
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
    with pytest.warns(UserWarning, match="1 of 5 settings from Caffe decide nothing in the model: 'loss3/classifier"):
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
    with pytest.raises(ValueError, match=r"could be Caffe's 'fc': left/fc, right/fc.*names=\{'fc': 'left/fc'\}"):
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
        (layer("a", "lr_mul: 1"), "unknown field 'lr_mul' where Caffe's ParamSpec.*Did you mean 'lr_mult'"),
        ('layer { name: "a" blobs_lr: 1 }', "unknown field 'blobs_lr' where Caffe's Layer is expected"),
        ("layers { layer { name: 'a' } }", "oldest format"),
        ("layer { name: 'a' ", "no net in Caffe's text format: 1:"),
        ("}", "no net in Caffe's text format: 1:1"),
        (layer("a", "lr_mult: x"), "no net in Caffe's text format: 1:"),
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
@pytest.mark.filterwarnings("ignore:.*Caffe does not know")
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
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr_policy: 'fixed'", "no `base_lr`"),
        ("base_lr: 1", "`lr_policy` must be one of fixed, step"),
        ("base_lr: 1 lr_policy: 'step' gamma: 0.1", "`stepsize` must be a number >= 1"),
        ("base_lr: 1 lr_policy: 'fixed' momentun: 0.9", "unknown field 'momentun'.*'momentum'"),
        ("base_lr: 1 lr_policy: 'fixed' type: 'Adm'", "must be one of SGD, Nesterov"),
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
    with pytest.raises(TypeError, match="Expected the path of a prototxt"):
        from_caffe(3, model_of("a"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        from_caffe(tmp_path / "binary", model_of("a"))
    with pytest.raises(TypeError, match="binary mode"):
        from_caffe(io.BytesIO(b"layer {}"), model_of("a"))


# -- the rate over time -----------------------------------------------------------------------------------------------

POLICIES = {
    "fixed": ({}, lambda i: 1.0),
    "step": ({"gamma": 0.1, "stepsize": 7}, lambda i: 0.1 ** (i // 7)),
    "exp": ({"gamma": 0.9999}, lambda i: 0.9999**i),
    "inv": ({"gamma": 0.001, "power": 0.75}, lambda i: (1 + 0.001 * i) ** -0.75),
    "multistep": ({"gamma": 0.5, "stepvalue": [3, 3, 50]}, lambda i: 0.5 ** ((i >= 3) + (i >= 4) + (i >= 50))),
    "poly": ({"power": 1.5, "max_iter": 100_000}, lambda i: (1 - min(i, 100_000) / 100_000) ** 1.5),
    "sigmoid": ({"gamma": 0.01, "stepsize": 200}, lambda i: 1 / (1 + np.exp(-0.01 * (i - 200)))),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_policy_is_caffes_formula(policy):
    arguments, formula = POLICIES[policy]
    schedule = CaffeSchedule(0.02, policy, **arguments)
    schedule = CaffeSchedule.from_config(schedule.get_config())
    every_third = CaffeSchedule(0.02, policy, iter_size=3, **arguments)
    for iteration in (0, 1, 2, 3, 4, 6, 7, 13, 14, 49, 50, 1000, 99_999, 100_000):
        expected = 0.02 * formula(iteration)
        np.testing.assert_allclose(float(schedule(iteration)), expected, rtol=1e-5, atol=1e-30)
        np.testing.assert_allclose(float(every_third(3 * iteration + 2)), expected, rtol=1e-5, atol=1e-30)


# -- the update -------------------------------------------------------------------------------------------------------

RATE, MOMENTUM, DELTA, RMS_DECAY, MOMENTUM2 = 0.05, 0.9, 1e-4, 0.9, 0.99
LR_MULT, DECAY_MULT = [0.5, 2.0, 1.0, 0.1], [1.0, 0.0, 250.0, 1.0]
UPDATE_NET = [
    layer("a", "lr_mult: 0.5", "lr_mult: 2 decay_mult: 0"),
    layer("b", "decay_mult: 250", "lr_mult: 0.1"),
]
SOLVERS = {
    "SGD": f"momentum: {MOMENTUM}",
    "Nesterov": f"momentum: {MOMENTUM}",
    "AdaGrad": f"delta: {DELTA}",
    "RMSProp": f"delta: {DELTA} rms_decay: {RMS_DECAY}",
    "AdaDelta": f"delta: {DELTA} momentum: {MOMENTUM}",
    "Adam": f"delta: {DELTA} momentum: {MOMENTUM} momentum2: {MOMENTUM2}",
}


class Caffe:
    """Caffe's `ApplyUpdate` in double precision: clip, normalize, regularize, compute, in this order."""

    def __init__(self, kind, start, decay=0.0, regularization="L2", iter_size=1, clip=-1.0):
        self.kind, self.decay, self.regularization = kind, decay, regularization
        self.iter_size, self.clip, self.iteration = iter_size, clip, 0
        self.weights = [value.astype("float64") for value in start]
        self.history = [(np.zeros_like(w), np.zeros_like(w)) for w in self.weights]

    def step(self, sums):
        norm = np.sqrt(sum((g.astype("float64") ** 2).sum() for g in sums))
        scale = self.clip / norm if norm > self.clip >= 0 else 1.0
        rate = RATE * (1 + 0.5 * self.iteration) ** -0.75
        self.iteration += 1
        for i, total in enumerate(sums):
            w = self.weights[i]
            penalty = w if self.regularization == "L2" else np.sign(w)
            g = scale * total / self.iter_size + self.decay * DECAY_MULT[i] * penalty
            self.weights[i] = w - rate * LR_MULT[i] * self.direction(i, g, rate * LR_MULT[i])

    def direction(self, i, g, local_rate):
        h, h2 = self.history[i]
        if self.kind in ("SGD", "Nesterov"):  # the rate stands inside the history
            new = local_rate * g + MOMENTUM * h
            self.history[i] = (new, h2)
            return (new if self.kind == "SGD" else (1 + MOMENTUM) * new - MOMENTUM * h) / local_rate
        if self.kind == "AdaGrad":
            self.history[i] = (h + g**2, h2)
            return g / (np.sqrt(h + g**2) + DELTA)
        if self.kind == "RMSProp":
            new = RMS_DECAY * h + (1 - RMS_DECAY) * g**2
            self.history[i] = (new, h2)
            return g / (np.sqrt(new) + DELTA)
        if self.kind == "AdaDelta":
            new = MOMENTUM * h + (1 - MOMENTUM) * g**2
            update = g * np.sqrt((DELTA + h2) / (DELTA + new))
            self.history[i] = (new, MOMENTUM * h2 + (1 - MOMENTUM) * update**2)
            return update
        m, v = MOMENTUM * h + (1 - MOMENTUM) * g, MOMENTUM2 * h2 + (1 - MOMENTUM2) * g**2
        self.history[i] = (m, v)
        correction = np.sqrt(1 - MOMENTUM2**self.iteration) / (1 - MOMENTUM**self.iteration)
        return correction * m / (np.sqrt(v) + DELTA)


def values(model):
    return [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]


def seeded_model():
    keras.utils.set_random_seed(1)
    model = model_of("a", "b")
    for variable in model.trainable_variables:  # no bias at 0, of which a relative tolerance says nothing
        variable.assign(variable + 0.3)
    return model


def solver_text(kind, more=""):
    return io.StringIO(f"base_lr: {RATE} lr_policy: 'inv' gamma: 0.5 power: 0.75 type: '{kind}' {SOLVERS[kind]} {more}")


def follow(optimizer, model, formula, steps):
    """Steps of both with the same gradients; the weights have to agree after each."""
    numbers = np.random.default_rng(formula.iteration)
    variables = model.trainable_variables
    for _ in range(steps):
        batches = [
            [numbers.normal(size=v.shape).astype("float32") for v in variables] for _ in range(formula.iter_size)
        ]
        for gradients in batches:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradients], variables)
        formula.step([np.sum(g, axis=0) for g in zip(*batches, strict=True)])
        for got, expected in zip(values(model), formula.weights, strict=True):
            np.testing.assert_allclose(got, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("regularization", ["L2", "L1"])
@pytest.mark.parametrize("kind", SOLVERS)
def test_update_is_caffes_formula(kind, regularization):
    model = seeded_model()
    start = values(model)
    solver = solver_text(kind, f"weight_decay: 0.004 regularization_type: '{regularization}'")
    optimizer = from_caffe(net(*UPDATE_NET), model, solver).optimizer
    follow(optimizer, model, Caffe(kind, start, 0.004, regularization), steps=12)
    assert all(np.abs(now - before).max() > 1e-4 for now, before in zip(values(model), start, strict=True))


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_accumulation_and_clipping_are_caffes(kind):
    """Caffe clips the sum of `iter_size` batches, before the decay; its schedule counts updates."""
    model = seeded_model()
    start = values(model)
    solver = solver_text(kind, "weight_decay: 0.004 iter_size: 3 clip_gradients: 5")
    optimizer = from_caffe(net(*UPDATE_NET), model, solver).optimizer
    follow(optimizer, model, Caffe(kind, start, 0.004, iter_size=3, clip=5.0), steps=6)


@pytest.mark.parametrize("kind", SOLVERS)
def test_training_goes_on_from_a_saved_model(kind, tmp_path):
    model = seeded_model()
    formula = Caffe(kind, values(model), 0.004)
    model.compile(from_caffe(net(*UPDATE_NET), model, solver_text(kind, "weight_decay: 0.004")).optimizer, loss="mse")
    follow(model.optimizer, model, formula, steps=3)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    follow(model.optimizer, model, formula, steps=3)


def test_fit_freezes_and_moves_as_the_prototxt_says():
    """Through the compiled step of each backend: plain SGD, so the movements are the multipliers."""
    keras.utils.set_random_seed(1)
    model = model_of("a", "b", bias=False)
    text = net(layer("a", "lr_mult: 0"), layer("b", "lr_mult: 0.25"))
    optimizer = from_caffe(text, model, io.StringIO("base_lr: 0.1 lr_policy: 'fixed' type: 'SGD'")).optimizer
    model.compile(optimizer, loss=lambda y, p: keras.ops.mean(p, axis=-1))
    before = values(model), model.get_layer("a").kernel.numpy()
    model.fit(np.ones((8, 4), "float32"), np.zeros((8, 6), "float32"), batch_size=8, verbose=0)
    np.testing.assert_allclose(before[0][0] - values(model)[0], 0.1 * 0.25 / 6, rtol=1e-4)
    np.testing.assert_array_equal(model.get_layer("a").kernel.numpy(), before[1])


@pytest.mark.same_everywhere
def test_old_solver_types():
    for number, name in enumerate(["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"]):
        solver = io.StringIO(f"base_lr: 1 lr_policy: 'fixed' solver_type: {name if number else 0}")
        optimizer = from_caffe(net(layer("a")), model_of("a"), solver).optimizer
        assert type(optimizer).__name__.upper() == f"CAFFE{'SGD' if name == 'NESTEROV' else name}"
        assert getattr(optimizer, "nesterov", False) is (name == "NESTEROV")


@pytest.mark.same_everywhere
def test_plan_comes_back_from_its_json():
    model = model_of("a", "b")
    plan = from_caffe(net(*UPDATE_NET), model).plan
    assert difflr.Plan.from_json(model, plan.to_json()) == plan
