"""timm, MMEngine, MMPretrain, detectron2 and big_vision against tables that their own code made (`peer_tables.py`).

fastai and lists of parameter groups against what their documentation says.
"""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import difflr
from difflr.interop import (
    from_big_vision,
    from_detectron2,
    from_fastai,
    from_keras_adamw,
    from_lr_multiplier,
    from_mmengine,
    from_param_groups,
    from_timm,
)
from interop import peer_cases as cases

pytestmark = [
    pytest.mark.same_everywhere,
    pytest.mark.filterwarnings("ignore:.*have no effect on the model"),  # not every case has something to match
]

TABLES = json.loads(Path(__file__).with_name("peer_tables.json").read_text())
LAYERS = {
    "patch": lambda name: keras.layers.Conv2D(4, 1, name=name),
    "norm": lambda name: keras.layers.LayerNormalization(name=name),
    "dw": lambda name: keras.layers.DepthwiseConv2D(3, padding="same", name=name),
    "fc": lambda name: keras.layers.Dense(4, name=name),
    "bn": lambda name: keras.layers.BatchNormalization(name=name),
}


@pytest.fixture
def model():
    """Of the layers in `peer_cases.NAMES`, as if pretrained."""
    blocks = [keras.Sequential([LAYERS[part](part) for part in ("norm", "dw", "fc")], name=str(n)) for n in (0, 1)]
    parts = [LAYERS["patch"]("patch"), keras.Sequential(blocks, name="blocks"), LAYERS["bn"]("bn")]
    layers = [
        keras.Sequential(parts, name="backbone"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(4, name="head"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *layers])
    for variable in model.trainable_variables:
        variable.assign(variable + 0.01)
    return model


def assert_table(translation, expected):
    found = {difflr.interop.translation.torch_name(row): row for row in translation.plan.rows}
    assert set(found) == set(expected)
    for name, values in expected.items():
        row = found[name]
        assert row.frozen == (values is None), name
        if values is not None:
            got = [row.multiplier, row.weight_decay_multiplier]
            np.testing.assert_allclose(got, values, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("case", cases.TIMM)
def test_timm(model, case):
    names = {
        "no_weight_decay_list": "no_weight_decay",
        "min_scale": "layer_decay_min_scale",
        "no_opt_scale": "layer_decay_no_opt_scale",
    }
    arguments = {names.get(name, name): value for name, value in cases.TIMM[case].items()}
    assert_table(from_timm(model, depth=cases.depth, **arguments), TABLES["timm"][case])


def test_timm_without_layer_decay_asks_for_no_depth():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="only")])
    plan = from_timm(model).plan
    assert [(row.multiplier, row.weight_decay_multiplier) for row in plan.rows] == [(1, 1), (1, 0)]


@pytest.mark.parametrize("case", cases.MMENGINE)
def test_mmengine(model, case):
    assert_table(from_mmengine(cases.MMENGINE[case], model), TABLES["mmengine"][case])


@pytest.mark.parametrize("case", cases.MMPRETRAIN)
def test_mmpretrain(model, case):
    assert_table(from_mmengine(cases.MMPRETRAIN[case], model, depth=cases.depth), TABLES["mmpretrain"][case])


def test_mmdetection_and_mmsegmentation(model):
    """By the formula of `LearningRateDecayOptimizerConstructor`: the head is number `num_layers + 1`."""
    cfg = {"decay_rate": 0.5, "decay_type": "layer_wise", "num_layers": 3}
    rows = from_mmengine(cfg, model, depth=cases.depth).plan.rows
    for row in rows:
        scale = 0.5 ** (5 - cases.layer_number(row.path) - 1)
        assert (row.multiplier, row.weight_decay_multiplier) == (scale, len(row.shape) > 1), row.path


@pytest.mark.parametrize("case", cases.DETECTRON2)
def test_detectron2(model, case):
    arguments = {"base_lr": cases.BASE, "weight_decay": cases.DECAY, **cases.DETECTRON2[case]}
    assert_table(from_detectron2(model, **arguments), TABLES["detectron2"][case])


@pytest.mark.parametrize("case", cases.BIG_VISION)
def test_big_vision(model, case):
    translation = from_big_vision({"lr": 1e-3, "wd": 1e-4, **cases.BIG_VISION[case]}, model)
    assert_table(translation, TABLES["big_vision"][case])
    assert "weight_decay=0.1, weight_decay_follows='base_rate'" in translation.notes[-1]


def test_big_visions_decay_does_not_follow_the_rate(model):
    """As its note says: from zero gradients a weight loses `wd` of itself, whatever `lr` and `lr_mults` are."""
    config = {"lr": 1e-2, "wd": 1e-3, "lr_mults": [("head/.*", 0.1)], "wd_mults": [(".*", 1.0)]}
    translation = from_big_vision(config, model)
    optimizer = difflr.optimizers.AdamW(
        1e-2, weight_decay=0.1, weight_decay_follows="base_rate", multipliers=translation.plan
    )
    kernel = model.get_layer("head").kernel
    before = keras.ops.convert_to_numpy(kernel)
    optimizer.apply([keras.ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), before * (1 - 1e-3), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: from_mmengine({"bias_lr_mul": 2.0}, m), "Did you mean 'bias_lr_mult'"),
        (
            lambda m: from_mmengine({"custom_keys": {"head": {"lr": 1.0}}}, m),
            "custom key 'head' has the unknown field 'lr'",
        ),
        (
            lambda m: from_mmengine({"custom_keys": {"decode": {"lr_mult": 1.0}}}, m),
            "have these names there: backbone.patch.weight",
        ),
        (lambda m: from_mmengine({"decay_rate": 0.5, "decay_type": "stage_wise"}, m), "Pass the stages as `depth="),
        (lambda m: from_mmengine({"decay_rate": 0.5, "custom_key": {}}, m), "unknown field 'custom_key'"),
        (lambda m: from_mmengine({"num_layers": 12}, m), "`num_layers` needs `layer_decay_rate`"),
        (lambda m: from_big_vision({"lr_mults": [(".*", 0)]}, m), "`lr_mults` must be above 0"),
        (
            lambda m: from_big_vision({"schedule": [("head/.*", {})]}, m),
            "None of its patterns matches 'backbone/patch/kernel'",
        ),
        (lambda m: from_big_vision({"schedule": [("head/.*", {}), (".*", {"a": 1})]}, m), "different schedules"),
        (lambda m: from_detectron2(m, base_lr=1, weight_decay_norm=0.1), "is 0, so no multiplier gives 0.1"),
        (lambda m: from_detectron2(m, base_lr=1, overrides={"bias": {"lr": 1}}, bias_lr_factor=2), "Leave one out"),
        (
            lambda m: from_detectron2(m, base_lr=1, overrides={"bias": {"momentum": 1}}),
            "the unknown field 'momentum'. Expected: lr, weight_decay",
        ),
        (lambda m: from_big_vision({"lr_mults": [("head(", 1.0)]}, m), r"'head\(', which is not a regular expression"),
        (lambda m: from_param_groups([{"params": ["haed.bias"]}], m, learning_rate=1), "Did you mean 'head.bias'"),
        (lambda m: from_keras_adamw(m, weight_decays={"a": (0, "b")}), r"`weight_decays\['a'\]` must be a finite"),
        (lambda m: from_detectron2(m, base_lr=0), "`base_lr` must be above 0"),
        (
            lambda m: from_detectron2(m, base_lr=1, lr_factor_func=lambda name: None),
            "lr_factor_func.'backbone.patch.weight",
        ),
        (
            lambda m: from_detectron2(m, base_lr=1, lr_factor_func=lambda name: 1.0),
            "None of the 1 settings.*lr_factor_func",
        ),
        (lambda m: from_param_groups([{"params": ["head.bias"], 5: 1}], m, learning_rate=1), "the unknown field 5"),
        (
            lambda m: from_param_groups([{"params": m.weights, "param_names": ["a"]}], m, learning_rate=1),
            "Group 0 has 1 `param_names` for",
        ),
        (lambda m: from_big_vision({"lr": "fast", "wd": 0.1}, m), "`lr` must be a finite number"),
        (lambda m: difflr.schedules.CaffeSchedule("fast", "fixed"), "`base_lr` must be a number >= 0"),
        (lambda m: from_fastai(slice(None), m), "must be a number above 0"),
        (lambda m: from_fastai(slice(1e-5, 1e-3, 2), m), "must be a number above 0"),
        (lambda m: from_fastai(np.array([1e-5, 1e-3]), m), "For a rate per group, use from_param_groups"),
        (lambda m: from_fastai(float("nan"), m), "must be a number above 0"),
        (lambda m: from_param_groups(AMSGRAD_OF_ONE, m, learning_rate=1), "Group 0 sets amsgrad"),
        (lambda m: from_param_groups([{"params": [], "weight_decay": 1}], m, learning_rate=1), "no multiplier gives"),
        (
            lambda m: from_param_groups([{"params": ["head/bias"]}] * 2, m, learning_rate=1),
            "in a group already: head/bias .group 0",
        ),
        (
            lambda m: from_param_groups([{"params": [n]} for n in ("head/bias", "head.bias")], m, learning_rate=1),
            "head.bias .group 1. is in a group already: head/bias",
        ),
    ],
)
def test_what_is_refused(model, call, message):
    with pytest.raises(ValueError, match=message):
        call(model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: from_timm(m, no_weight_decay="head.bias"), r"such as \['head.bias'\]"),
        (lambda m: from_mmengine({"custom_keys": {"head": 0.1}}, m), "custom key 'head' must be a mapping"),
        (lambda m: from_mmengine({"custom_keys": [("head", 0.1)]}, m), "`custom_keys` must be a mapping"),
        (lambda m: from_detectron2(m, base_lr=1, overrides={"bias": 0.1}), "override for 'bias' must be a mapping"),
        (lambda m: from_big_vision({"lr_mults": {"head/.*": 1.0}}, m), "`lr_mults` must be a list of pairs"),
        (lambda m: from_lr_multiplier([("head", 0.1)], m), "`multipliers` must be a mapping"),
        (lambda m: from_lr_multiplier({1: 0.1}, m), "`multipliers` must be a mapping"),
        (lambda m: from_keras_adamw(m, lr_multipliers=[1]), "`lr_multipliers` must be a mapping"),
        (lambda m: from_param_groups([{"params": m.layers[-1]}], m, learning_rate=1), "such as layer.trainable_var"),
        (lambda m: from_param_groups([{"lr": 1}], m, learning_rate=1), "Group 0 must be a dictionary with `params`"),
        (
            lambda m: from_param_groups([{"params": [None]}], m, learning_rate=1),
            "variables of the model or their names",
        ),
        (lambda m: from_param_groups("head", m, learning_rate=1), "a list of dictionaries with `params`"),
        (
            lambda m: from_param_groups([{"params": ["head.bias"], "betas": 0.9}, {"params": []}], m, learning_rate=1),
            "`betas` of group 0 must be a pair",
        ),
        (lambda m: from_mmengine(0.1, m), "`paramwise_cfg` must be a mapping"),
        (lambda m: from_big_vision({"lr_mults": [5]}, m), "`lr_mults` must be a list of pairs"),
        (lambda m: from_big_vision({"schedule": 5}, m), "A `schedule` must be a mapping"),
        (
            lambda m: difflr.schedules.CaffeSchedule(0.1, "multistep", gamma=0.5, stepvalue=5),
            "`stepvalue` must be a list",
        ),
    ],
)
def test_a_wrong_form_is_named(model, call, message):
    with pytest.raises(TypeError, match=message):
        call(model)


def test_labels_of_optax_are_groups(model):
    """`multi_transform` with `set_to_zero` for all but two labels; names are Flax's."""
    groups = [
        {"params": ["backbone/bn/scale", "backbone/bn/bias"], "lr": 1e-4},
        {"params": ["head/kernel", "head/bias"]},
    ]
    rows = from_param_groups(groups, model, learning_rate=1e-3).plan.rows
    assert {row.path: row.multiplier for row in rows if not row.frozen} == {
        "backbone/bn/gamma": pytest.approx(0.1),
        "backbone/bn/beta": pytest.approx(0.1),
        "head/kernel": 1,
        "head/bias": 1,
    }


def test_what_belongs_to_the_optimizer_is_noted(model):
    config = {"lr_mults": [(".*", 1.0)], "optax_name": "scale_by_adam", "grad_clip_norm": 1.0}
    assert from_big_vision(config, model).notes == ("not in the plan: optax_name='scale_by_adam', grad_clip_norm=1.0",)


def test_mmengine_says_which_multipliers_do_not_count_by_depth(model):
    cfg = {"layer_decay_rate": 0.5, "custom_keys": {"head": {"lr_mult": 5.0}}, "bias_lr_mult": 2.0}
    translation = from_mmengine(cfg, model, depth=cases.depth)
    assert translation.notes == ("custom key 'head': its lr_mult is ignored here",)
    assert translation.unmatched == ("bias_lr_mult",)
    assert translation.plan.row(model.get_layer("head").kernel).multiplier == 1


AMSGRAD_OF_ONE = [{"params": ["head.weight"], "amsgrad": True}, {"params": ["head.bias"], "amsgrad": False}]
GROUPS = ["backbone/patch", "backbone/blocks", "backbone/bn", "head"]
FASTAI = {
    "low and high": (slice(1e-5, 1e-2), [1e-3, 1e-2, 1e-1, 1.0], 1e-2),
    "high": (slice(1e-2), [0.1, 0.1, 0.1, 1.0], 1e-2),
    "a number": (1e-2, [1.0, 1.0, 1.0, 1.0], 1e-2),
}


@pytest.mark.parametrize("case", FASTAI)
def test_fastai(model, case):
    lr, expected, rate = FASTAI[case]
    translation = from_fastai(lr, model, groups=GROUPS)
    rows = {row.path: row for row in translation.plan.rows}
    last = ("backbone/patch/kernel", "backbone/blocks/1/fc/kernel", "backbone/bn/gamma", "head/kernel")
    assert [rows[path].multiplier for path in last] == pytest.approx(expected, rel=1e-12)
    assert translation.learning_rate == rate
    decaying = {path.split("/")[-1] for path, row in rows.items() if row.weight_decay_multiplier}
    assert decaying == {"kernel"}
    everything = from_fastai(lr, model, groups=GROUPS, wd_bn_bias=True).plan
    assert all(row.weight_decay_multiplier == 1 for row in everything.rows)


def test_parameter_groups(model):
    """Names of PyTorch, paths and variables; absolute numbers; what is in no group is not trained."""
    groups = [
        {"params": ["head.weight", "head/bias"], "lr": 3e-4, "weight_decay": 0.02},
        {"params": [row.variable for row in difflr.Plan(model).rows if ".bn." in row.path.replace("/", ".")]},
    ]
    translation = from_param_groups(groups, model, learning_rate=1e-4, weight_decay=0.01)
    found = {row.path: (row.multiplier, row.weight_decay_multiplier) for row in translation.plan.rows if not row.frozen}
    assert found == {
        "backbone/bn/gamma": (1, 1),
        "backbone/bn/beta": (1, 1),
        "head/kernel": (pytest.approx(3), 2),
        "head/bias": (pytest.approx(3), 2),
    }


def test_param_groups_take_what_torch_takes(model):
    """Pairs and single names, BEiT's `lr_scale` and dictionary, and arguments of torch's optimizers."""
    head = model.get_layer("head")
    groups = {
        "layer_0": {"params": "backbone.patch.weight", "lr_scale": 0.25, "betas": (0.9, 0.95), "nesterov": True},
        "layer_1": {"params": [("any name", head.kernel), ["head.bias", head.bias]], "lr": 2e-3, "nesterov": True},
    }
    translation = from_param_groups(groups, model, learning_rate=1e-3)
    rows = {row.path: row for row in translation.plan.rows if not row.frozen}
    assert {path: row.multiplier for path, row in rows.items()} == {
        "backbone/patch/kernel": 0.25,
        "head/kernel": 2,
        "head/bias": 2,
    }
    assert rows["backbone/patch/kernel"].hyperparameters == {"beta_1": 0.9, "beta_2": 0.95}
    assert not rows["head/kernel"].hyperparameters
    assert translation.notes == ("arguments of the optimizer, not in the plan: nesterov=True",)
    assert translation.learning_rate == 1e-3


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch parameters")
def test_an_optimizer_of_torch(model):
    import torch

    head = model.get_layer("head")
    groups = [
        {"params": list(head.parameters()), "weight_decay": 0.1},
        {"params": [model.layers[0].variables[0].value], "lr": 1e-3},
    ]
    optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=0.9)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1)  # it changes `lr`, and keeps `initial_lr`
    translation = from_param_groups(optimizer, model)
    found = {row.path: (row.multiplier, row.weight_decay_multiplier) for row in translation.plan.rows if not row.frozen}
    one = (pytest.approx(0.1), 0)
    assert found == {"backbone/patch/kernel": one, "head/kernel": (1, 1), "head/bias": (1, 1)}
    assert translation.learning_rate == 1e-2
    notes = "\n".join(translation.notes)
    assert "torch.optim.SGD" in notes
    assert "momentum=0.9" in notes
    assert "weight decay is part of the gradient" in notes
    plan = difflr.Plan(model, {"head": 0.5, "kind:bias": {"weight_decay_multiplier": 0.0}})
    back = from_param_groups(
        difflr.interop.torch_param_groups(plan, 1e-2, 0.1), model, learning_rate=1e-2, weight_decay=0.1
    )
    assert back.plan.multipliers.values() == plan.multipliers.values()
    with pytest.raises(ValueError, match="numbers instead of parameters"):
        from_param_groups(optimizer.state_dict()["param_groups"], model, learning_rate=1e-2, weight_decay=0.1)
