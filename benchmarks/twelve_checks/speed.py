"""What a step costs with many groups."""

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import difflr
from benchmarks import fitting, measure
from benchmarks.twelve_checks.check import PASSED, PLAIN, SLOWER, Check, Outcome
from benchmarks.twelve_checks.targets import multi

LAYERS = [f"block_{number:02d}" for number in range(48)]
WIDTH = 32
STEPS = 40  # of an epoch
MOST = 1.10  # times the time of the stock optimizer
SECONDS = 6.0  # for one pair, at most


def multipliers() -> dict[str, float]:
    """A different one for each layer; the head, which is not in it, has 1."""
    return {name: 0.5 + number / 100 for number, name in enumerate(LAYERS)}


def trained_with(make: Callable[[keras.Model], Any]) -> Callable[[int], None]:
    """Trains a model of 48 narrow layers and a head, for a number of epochs."""
    layers = [keras.layers.Dense(WIDTH, activation="relu", name=name) for name in LAYERS]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers, keras.layers.Dense(1, name="head")], name="chain")
    model.compile(make(model), loss="mse")
    random = np.random.default_rng(0)
    x = random.normal(size=(STEPS * fitting.BATCH, WIDTH)).astype("float32")
    return fitting.epochs_of(model, x, x[:, :1])


def step_trial(make: Callable[[keras.Model], Any], seconds: float = SECONDS, least: int = 7) -> Outcome:
    stock = trained_with(lambda model: keras.optimizers.Adam(1e-3))
    times = measure.in_turn(stock, trained_with(make), seconds, least=least, most=101, clock=time.process_time)
    compared = measure.compared(*times)
    ratio, one = compared["ratio"], compared["stock_seconds"]["median"] / STEPS
    seen = (
        f"{ratio['median']:.2f} times the stock optimizer's {1000 * one:.1f} ms a step "
        f"(quartiles {ratio['low']:.2f} to {ratio['high']:.2f}), asked at most {MOST:.2f}"
    )
    return Outcome(PASSED if ratio["median"] <= MOST else SLOWER, seen)


def many_optimizers(model: keras.Model) -> keras.optimizers.Optimizer:
    others = {f"chain/{name}/.*": keras.optimizers.Adam(1e-3 * number) for name, number in multipliers().items()}
    return multi(keras.optimizers.Adam(1e-3), others)


STEP = Check(
    "A training step with 49 groups",
    f"48 dense layers with a rate each, and a head, with Adam: CPU time of a step of `fit` against stock Adam with one "
    f"rate, {STEPS} steps each, in turn. The median ratio should be at most {MOST:.2f}.",
    step_trial,
    keras={PLAIN: {"make": many_optimizers}},
    difflr={PLAIN: {"make": lambda model: difflr.optimizers.Adam(1e-3, multipliers=difflr.Plan(model, multipliers()))}},
)
