"""An unknown name, wherever it is given, is answered with the nearest one that is known."""

import io

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase, PhaseScheduler, Plan, Rule, interop, optimizers, schedules

pytestmark = pytest.mark.same_everywhere


@pytest.fixture
def model():
    layers = [keras.layers.Dense(3, name=name) for name in ("stem", "block", "head")]
    return keras.Sequential([keras.Input((4,)), *layers])


def compiled(model, **settings):
    model.compile(optimizers.SGD(0.1, **settings), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def fitted(model, phases):
    model.compile(optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    model.fit(np.ones((4, 4)), np.ones((4, 3)), epochs=3, verbose=0, callbacks=[PhaseScheduler(phases)])


def caffe(net='layer { name: "stem" param { lr_mult: 1 } }', solver="base_lr: 1 lr_policy: 'fixed'", **arguments):
    return lambda model: interop.from_caffe(io.StringIO(net), model, io.StringIO(solver), **arguments)


GROUPS = [{"params": ["stem/kernel"], "weight_decy": 0.1}]
MOMENTUM = [Rule("*", hyperparameters={"momentum": 0.5})]

CASES = {
    "path": (lambda m: Plan(m, {"stme": 0.1}), "stem"),
    "path in capitals": (lambda m: Plan(m, {"Head": 0.1}), "head"),
    "kind": (lambda m: Plan(m, {"kind:bais": 0.1}), "kind:bias"),
    "field of a rule": (lambda m: Plan(m, {"stem": {"multiplyer": 0.1}}), "multiplier"),
    "hyperparameter": (
        lambda m: compiled(m, momentum=0.9, multipliers=Plan(m, [Rule("*", hyperparameters={"momentom": 0.5})])),
        "momentum",
    ),
    "hyperparameter of an optimizer": (
        lambda m: compiled(m, momentum=0.9, multipliers=Plan(m, MOMENTUM)).optimizer.hyperparameters["momentom"],
        "momentum",
    ),
    "frozen_statistics": (lambda m: Plan(m, frozen_statistics="kep"), "keep"),
    "weight_decay_follows": (lambda m: optimizers.SGD(weight_decay_follows="base_rat"), "base_rate"),
    "optimizer": (lambda m: optimizers.differential("adamm"), "adam"),
    "multiplier of a path": (lambda m: compiled(m).optimizer.multipliers["stme"], "stem"),
    "multiplier of a path in a mapping": (lambda m: Plan(m).multipliers["stem/kernl"], "stem/kernel"),
    "depth group": (lambda m: difflr.freeze_to(compiled(m), "blok"), "block"),
    "block": (lambda m: difflr.recipes.surgical(m, "blok"), "block"),
    "target of a phase": (lambda m: fitted(m, [Phase("haed")]), "head"),
    "mode of a phase": (lambda m: Phase("*", monitor="loss", mode="mni"), "min"),
    "end of a phase": (lambda m: Phase("*", until="next_phse"), "next_phase"),
    "metric of a phase": (lambda m: fitted(m, [Phase("head", monitor="mea", mode="min"), Phase("*")]), "mae"),
    "metric of a function": (
        lambda m: fitted(m, [Phase("head", until=lambda epoch, logs: logs["lss"] < 0), Phase("*")]),
        "loss",
    ),
    "field of a saved phase": (lambda m: Phase.from_dict({"trainable": "*", "epoch": 1}), "epochs"),
    "annealing": (lambda m: schedules.OneCycle(0.1, 10, annealing="cosin"), "cosine"),
    "optimizer of mup": (lambda m: difflr.recipes.mup(m, m, optimizer="adma"), "adam"),
    "weight of a layer": (
        lambda m: difflr.layers.Dense(2, learning_rate_multiplier={"kernl": 0.1}).build((None, 3)),
        "kernel",
    ),
    "caffe policy": (caffe(solver="base_lr: 1 lr_policy: 'setp'"), "step"),
    "caffe solver": (caffe(solver="base_lr: 1 lr_policy: 'fixed' type: 'Adm'"), "Adam"),
    "caffe field": (caffe('layer { name: "a" param { lr_mul: 1 } }'), "lr_mult"),
    "caffe layer": (caffe(names={"stme": "stem"}), "stem"),
    "parameter group": (lambda m: interop.from_param_groups(GROUPS, m, learning_rate=0.1), "weight_decay"),
    "detectron2": (
        lambda m: interop.from_detectron2(m, base_lr=0.1, overrides={"bias": {"weight_decy": 1.0}}),
        "weight_decay",
    ),
    "mmengine": (lambda m: interop.from_mmengine({"bias_lr_mul": 2.0}, m), "bias_lr_mult"),
    "what torch's groups follow": (
        lambda m: interop.optax_transform(Plan(m), None, [], learning_rate=0.1, weight_decay_follows="base"),
        "base_rate",
    ),
}


@pytest.mark.parametrize(("attempt", "nearest"), CASES.values(), ids=CASES)
def test_an_unknown_name_is_answered_with_the_nearest(model, attempt, nearest):
    with pytest.raises((ValueError, KeyError, TypeError), match=rf"Did you mean [^?]*['/]{nearest}'"):
        attempt(model)
