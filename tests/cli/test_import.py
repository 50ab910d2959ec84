"""`difflr import`: settings of other systems become a plan file that `difflr fine-tune --plan` takes."""

import json
import re

import keras
import numpy as np
import pytest

import difflr as library
from cli.commands import difflr, refused

pytestmark = pytest.mark.same_everywhere

NET = """
layer { name: "stem" type: "Convolution" param { lr_mult: 0.1 } param { lr_mult: 0.2 decay_mult: 0 } }
layer { name: "top" type: "Convolution" param { lr_mult: 0 } param { lr_mult: 0 } }
layer { name: "fc8" type: "InnerProduct" param { lr_mult: 3 } param { lr_mult: 2 decay_mult: 0 } }
"""
SOLVER = 'base_lr: 0.01 lr_policy: "step" gamma: 0.1 stepsize: 1000 momentum: 0.9 weight_decay: 0.0005'
CONFIG = """
from mmengine.config import read_base
base = 5e-4 * 1024 / 512
norm = dict(decay_mult=0.0)
optim_wrapper = dict(
    optimizer=dict(type='AdamW', lr=base, weight_decay=0.05),
    paramwise_cfg=dict(custom_keys={'stem': dict(lr_mult=0.1), 'top.bias': norm}))
launcher = open('never read')
"""
SOLVER_YAML = "MODEL: {META: x}\nSOLVER: {BASE_LR: 0.02, WEIGHT_DECAY: 1e-2, BIAS_LR_FACTOR: 2.0}\n"
ARGS_YAML = "opt: adamw\nlr: 1e-3\nweight_decay: 0.05\nlayer_decay: 0.5\nlayer_decay_min_scale: 0.3\nepochs: 3\n"
# Peer -> files, settings, (multiplier, decay) of stem/kernel, stem/bias, top/kernel, top/bias, head/kernel, head/bias.
PEERS = {
    "timm": ({"args.yaml": ARGS_YAML}, "args.yaml", [(0.3, 1), (0.3, 0), (0.5, 1), (0.5, 0), (1, 1), (1, 0)]),
    "mmengine": ({"config.py": CONFIG}, "config.py", [(0.1, 1), (0.1, 1), (1, 1), (1, 0), (1, 1), (1, 1)]),
    "detectron2": ({"config.yaml": SOLVER_YAML}, "config.yaml", [(1, 1), (2, 1)] * 3),
    "big-vision": (
        {"config.json": json.dumps({"lr_mults": [["stem/.*", 0.1], [".*", 1.0]], "schedule": {"warmup_steps": 1}})},
        "config.json",
        [(0.1, 1), (0.1, 0), (1, 1), (1, 0), (1, 1), (1, 0)],
    ),
    "fastai": ({}, "slice(1e-5, 1e-3)", [(0.01, 1), (0.01, 0), (0.1, 1), (0.1, 0), (1, 1), (1, 0)]),
    "lr-multiplier": ({}, '{"stem": 0.5, "head/bias": 2}', [(0.5, 1)] * 2 + [(1, 1)] * 3 + [(2, 1)]),
    "keras-adamw": ({}, "dict(lr_multipliers={'stem': 0.5})", [(0.5, 1)] * 2 + [(1, 1)] * 4),
    "param-groups": (
        {},
        "dict(learning_rate=1e-3, groups=[dict(params=['stem.weight'], lr=1e-4), dict(params=['head.bias'])])",
        [(0.1, 1), None, None, None, None, (1, 1)],
    ),
}


def table(file):
    plan = library.Plan.from_json(keras.saving.load_model("net.keras"), file.read_text())
    return [None if row.frozen else (row.multiplier, row.weight_decay_multiplier) for row in plan.rows]


def test_a_caffe_net(here):
    (here / "net.prototxt").write_text(NET)
    (here / "solver.prototxt").write_text(SOLVER)
    words = ["net.prototxt", "net.keras", "--solver", "solver.prototxt", "--name", "fc8=head", "-o", "plan.json"]
    result = difflr("import", "caffe", *words)
    assert result.code == 0
    assert table(here / "plan.json") == [(0.1, 1), (0.2, 0), None, None, (3, 1), (2, 0)]
    assert "fc8 param 1 -> head/bias" in result.out
    assert "Base rate: CaffeSchedule(base_lr=0.01, lr_policy='step'" in result.out
    assert "Optimizer: CaffeSGD(momentum=0.9, coupled_weight_decay=0.0005)" in result.out
    assert "Written: plan.json" in result.err


def test_a_model_that_carries_the_multipliers(here):
    (here / "net.prototxt").write_text(NET)
    result = difflr("import", "caffe", "net.prototxt", "net.keras", "--name", "fc8=head", "-o", "declaring.keras")
    assert result.code == 0
    assert "difflr: warning: Layers declare no weight decay" in result.err
    model = keras.saving.load_model("declaring.keras")
    assert [row.multiplier for row in library.Plan(model).rows] == [0.1, 0.2, 0, 0, 3, 2]
    images = np.ones((1, 8, 8, 3), "float32")
    before = keras.saving.load_model("net.keras").predict(images, verbose=0)
    np.testing.assert_array_equal(model.predict(images, verbose=0), before)


@pytest.mark.parametrize("peer", PEERS)
def test_settings_of_every_other_peer(peer, here):
    files, settings, expected = PEERS[peer]
    for name, text in files.items():
        (here / name).write_text(text)
    result = difflr("import", peer, settings, "net.keras", "-o", "plan.json")
    assert result.code == 0, result.err
    for got, values in zip(table(here / "plan.json"), expected, strict=True):
        assert got == (values and pytest.approx(values))


# Peer, settings, what is told besides the plan.
TOLD = [
    (
        "timm",
        "dict(opt='adamw', layer_decay=0.5, lr=None, lr_base=0.1, sched='cosine', mixup=0.8)",
        "opt='adamw', lr_base=0.1, sched",
    ),
    (
        "mmengine",
        "dict(_base_='x.py', optimizer=dict(type='SGD', paramwise_cfg=dict(bias_lr_mult=2)), lr_config=dict(policy='step'))",
        "`_base_` of the config is not read.*type='SGD', lr_config={'policy': 'step'}",
    ),
    (
        "mmengine",
        "dict(optimizer=dict(paramwise_cfg=dict(bias_lr_mult=2)), optimizer_config=dict(grad_clip=dict(max_norm=35)))",
        "optimizer_config={'grad_clip': {'max_norm': 35}}",
    ),
    ("mmengine", "dict(num_layers=12, layer_decay_rate=0.9, custom_keys=dict())", "custom_keys is ignored"),
    (
        "detectron2",
        "dict(SOLVER=dict(BASE_LR=1e-4, BACKBONE_MULTIPLIER=0.1), MODEL=dict(BACKBONE=dict(FREEZE_AT=2)))",
        "not in the plan: BACKBONE_MULTIPLIER=0.1, FREEZE_AT=2",
    ),
    ("big-vision", "dict(lr=1e-3, optax_name='scale_by_adam', lr_mults=[['.*', 1.0]])", "optax_name='scale_by_adam'"),
    ("keras-adamw", "dict(lr_multipliers=dict(stem=0.5), use_cosine_annealing=True)", "use_cosine_annealing=True"),
    ("param-groups", "dict(lr=1e-3, groups=[dict(params=['stem.weight'])])", "in no group: not trained -> stem/bias"),
    ("fastai", "slice(1e-2/(2.6**4), 1e-2)", "Base rate: 0.01"),
]


@pytest.mark.parametrize(("peer", "settings", "told"), TOLD)
def test_what_is_not_taken_over_is_named(peer, settings, told, here):
    result = difflr("import", peer, settings, "net.keras")
    assert result.code == 0, result.err
    assert re.search(told, result.out, re.DOTALL), result.out


CHANGED = [
    "custom_keys.update({f'stem.{n}': dict(lr_mult=0.2) for n in range(2)})",
    "custom_keys['top'] = dict(lr_mult=0.2)",
    "for name in ('top',):\n    custom_keys[name] = dict(lr_mult=0.2)",
    "custom_keys |= dict(top=dict(lr_mult=0.2))",
]


@pytest.mark.parametrize("line", CHANGED)
def test_settings_that_code_changes_are_refused(line, here):
    optimizer = "optimizer = dict(paramwise_cfg=dict(custom_keys=custom_keys))"
    (here / "config.py").write_text(f"custom_keys = dict(stem=dict(lr_mult=0.1))\n{line}\n{optimizer}")
    message = refused("import", "mmengine", "config.py", "net.keras")
    assert "config.py: line 2 decides about optimizer, and no code is run: " in message
    assert "cfg.dump('config.py')" in message


def test_the_plan_is_one_for_fine_tune(here):
    assert difflr("import", "lr-multiplier", '{"stem": 0.5}', "net.keras", "-o", "a.json").code == 0
    words = ["--plan", "a.json", "--epochs", "1", "--freeze-epochs", "0", "--scale", "0..255", "--json"]
    result = difflr("fine-tune", "net.keras", "images", *words, "--validation-split", "0")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["plan"]
    assert rows == json.loads((here / "a.json").read_text())


def test_a_model_of_keras_2(here):
    layer = {"name": "fc", "units": 2, "W_learning_rate_multiplier": 0.1, "batch_input_shape": [None, 3]}
    fork = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": layer}]}
    (here / "fork.json").write_text(json.dumps(fork))
    assert difflr("import", "keras2", "fork.json", "-o", "new.keras").code == 0
    assert [row.multiplier for row in library.Plan(keras.saving.load_model("new.keras")).rows] == [0.1, 1]
    assert "Received: --output new.h5" in refused("import", "keras2", "fork.json", "-o", "new.h5")
    assert "no such file" in refused("import", "keras2", "old.h5", "-o", "n.keras").lower()
    assert "neither an HDF5 file nor a JSON model" in refused("import", "keras2", "new.keras", "-o", "n.keras")
    (here / "fork.json").write_text('{"class_name": "Sequential"}')
    assert "contains no Keras 2 model" in refused("import", "keras2", "fork.json", "-o", "n.keras")


WRONG = [
    (["caffe", "nowhere.prototxt", "net.keras"], "No such file.*nowhere.prototxt"),
    (["caffe", "net.keras", "net.keras"], "not UTF-8 text"),
    (["caffe", "a.prototxt", "net.keras", "--name", "fc8"], "A name is CAFFE=KERAS. Received: --name 'fc8'"),
    (["timm", "dict(layer_decy=0.5)", "net.keras"], "unknown field 'layer_decy'. Did you mean 'layer_decay'"),
    (["timm", "0.5", "net.keras"], "settings for timm are a dictionary"),
    (["timm", "nowhere.yaml", "net.keras"], "No such file.*nowhere.yaml"),
    (["timm", "dict(layer_decay=__import__('os').getpid())", "net.keras"], "plain data, and no code is run"),
    (["timm", "dict(layer_decay=0.5", "net.keras"], "neither a file nor plain data"),
    (["timm", "net.keras", "net.keras"], "Settings are in a .json, .yaml, .yml or .py file. Received: net.keras"),
    (["fastai", "[1e-5, 1e-3]", "net.keras"], "from_param_groups"),
    (["fastai", "'1e-5'", "net.keras"], "must be a number above 0, slice"),
    (["fastai", "9.0**9**9", "net.keras"], "is no number"),
    (["timm", "", "net.keras"], "a file, or plain data"),
    (["mmengine", "dict(_base_='x.py')", "net.keras"], "which its `_base_` may have"),
    (["mmengine", "dict(optim_wrapper=dict(optimizer=dict(lr=1)))", "net.keras"], "has no `paramwise_cfg`"),
    (["mmengine", "dict(custom_keys=dict(stm=dict(lr_mult=0.1)))", "net.keras"], "nearest: 'stem'"),
    (["mmengine", "dict(optim_wrapper=[])", "net.keras"], "has the unknown field 'optim_wrapper'"),
    (["mmengine", "dict(optim_wrapper=[1])", "net.keras"], "`optim_wrapper` must be a dictionary"),
    (["mmengine", "dict(optim_wrapper=dict(a=dict(optimizer=dict())))", "net.keras"], "has several optimizers: a"),
    (["big-vision", "dict(lr='x', lr_mults=[['.*', 1.0]])", "net.keras"], "`?lr`? must be a finite number"),
    (["detectron2", "dict(_BASE_='x.yaml')", "net.keras"], "builds on `_BASE_`"),
    (["detectron2", "dict(bias_lr_factor=2.0)", "net.keras"], "need `base_lr`"),
    (["param-groups", "dict(groups=[])", "net.keras"], "and 'learning_rate'"),
    (["fastai", "slice(0, 0)", "net.keras"], "must be a number above 0"),
    (["lr-multiplier", '{"stm": 0.5}', "net.keras"], "nearest: 'stem'"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda part: " ".join(part) if isinstance(part, list) else "")
def test_what_is_wrong_is_one_line_and_nothing_is_written(words, message, here):
    (here / "a.prototxt").write_text(NET)
    before = sorted(here.iterdir())
    assert re.search(message, refused("import", *words, "-o", "plan.json"))
    assert sorted(here.iterdir()) == before
