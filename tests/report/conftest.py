"""One short training for all tests of pictures and reports, with names that would like to be markup."""

import types

import keras
import numpy as np
import pytest

import difflr
from report.runs import HOSTILE, small_model


def trained(names, multipliers, title_phases):
    keras.utils.set_random_seed(0)
    model = small_model(names)
    plan = difflr.Plan(model, multipliers)
    schedule = difflr.schedules.WarmupCosine(1e-2, 12, warmup_steps=2)
    model.compile(difflr.optimizers.SGD(schedule, multipliers=plan), loss="mse", metrics=["mae"])
    x, y = np.ones((8, 3), "float32"), np.zeros((8, 2), "float32")
    callbacks = [difflr.GroupLogger(), difflr.PhaseScheduler(title_phases)]
    history = model.fit(
        x, y, batch_size=4, epochs=6, verbose=0, shuffle=False, validation_data=(x, y), callbacks=callbacks
    )
    return types.SimpleNamespace(model=model, plan=plan, phases=title_phases, history=history)


@pytest.fixture(scope="session")
def run():
    phases = difflr.Phases([difflr.Phase("kind:head", epochs=2), difflr.Phase("*", warm_up_steps=4)])
    multipliers = {"backbone": 0.1, "*/bias": 0.5, "backbone/stem": difflr.FROZEN}
    return trained(("stem", "block1", "block2"), multipliers, phases)


@pytest.fixture(scope="session")
def hostile_run():
    phases = difflr.Phases([difflr.Phase(["head"], epochs=2), difflr.Phase("*")])
    return trained(HOSTILE, [(lambda variable: variable.name == "kernel", 0.5)], phases)


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
    """A plan of 4 layers a block and a head."""
    layers = []
    for number in range(blocks):
        layers += [keras.layers.Dense(2, name=f"block{number}_{name}") for name in ("one", "two", "three", "four")]
    body = keras.Sequential(layers, name="encoder")
    model = keras.Sequential([keras.Input((2,)), body, keras.layers.Dense(2, name="head")])
    rules = [(f"encoder/block{number}_*", 0.9 ** (blocks - number)) for number in range(4, blocks)]
    return difflr.Plan(model, [*rules, ("encoder/block[0-3]_*", difflr.FROZEN)])


@pytest.fixture(scope="session")
def plan_of_200_layers():
    return deep_plan()
