"""One short training for all tests of pictures and reports, with names that would like to be markup."""

import itertools
import types

import keras
import numpy as np
import pytest

import difflr
from difflr.report.plan_layers import bands_of
from report.runs import HOSTILE, small_model


@pytest.fixture(scope="session")
def run():
    """A model after training in phases."""
    keras.utils.set_random_seed(0)
    model = small_model()
    phases = difflr.Phases([difflr.Phase("kind:head", epochs=2), difflr.Phase("*", warmup_steps=4)])
    plan = difflr.Plan(model, {"backbone": 0.1, "*/bias": 0.5, "backbone/stem": difflr.FROZEN})
    schedule = difflr.schedules.WarmupCosine(1e-2, 12, warmup_steps=2)
    model.compile(difflr.optimizers.SGD(schedule, multipliers=plan), loss="mse", metrics=["mae"])
    x, y = np.ones((8, 3), "float32"), np.zeros((8, 2), "float32")
    callbacks = [difflr.GroupLogger(), difflr.PhaseScheduler(phases)]
    history = model.fit(x, y, batch_size=4, epochs=6, verbose=0, validation_data=(x, y), callbacks=callbacks)
    return types.SimpleNamespace(model=model, plan=plan, phases=phases, history=history)


@pytest.fixture(scope="session")
def hostile_run():
    """A model with such names as TensorFlow would not train, and a log with them."""
    model = small_model(HOSTILE)
    plan = difflr.Plan(model, [(lambda variable: variable.name == "kernel", 0.5), ("backbone/_*", 0.1)])
    measures = itertools.product(("learning_rate", "update_ratio"), bands_of(plan))
    history = {f"{measure}/{band.layer}/{band.variables}": [0.1, 0.2] for measure, band in measures} | {
        "loss": [1.0, 0.5]
    }
    phases = difflr.Phases([difflr.Phase(["head"], epochs=1), difflr.Phase("*")])
    return types.SimpleNamespace(model=model, plan=plan, phases=phases, history=history)


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure(layout="constrained").subplots()


@pytest.fixture
def pyplot():
    """Pyplot, for pictures that make a figure of their own; none is left open."""
    from matplotlib import pyplot

    yield pyplot
    pyplot.close("all")


def deep_plan(blocks=50):
    """A model of 4 layers a block and a head, and its plan."""
    layers = []
    for number in range(blocks):
        layers += [keras.layers.Dense(2, name=f"block{number}_{name}") for name in ("one", "two", "three", "four")]
    body = keras.Sequential(layers, name="encoder")
    model = keras.Sequential([keras.Input((2,)), body, keras.layers.Dense(2, name="head")])
    rules = [(f"encoder/block{number}_*", 0.9 ** (blocks - number)) for number in range(4, blocks)]
    return model, difflr.Plan(model, [*rules, ("encoder/block[0-3]_*", difflr.FROZEN)])


@pytest.fixture(scope="session")
def plan_of_200_layers():
    model, plan = deep_plan()
    yield plan
    del model  # a plan does not keep its model
