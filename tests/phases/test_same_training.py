"""The trainings of the table in docs/phases.md, as its second column has them: who trains in each epoch, at which rate."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import difflr
from difflr import Phase
from difflr.schedules import OneCycle

TABLE = Path(__file__).parents[2] / "docs" / "phases.md"
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3
BATCH = 4

# The rate of each layer in each of five epochs; `None` where it is frozen.
HEAD, ALL = [None, None, 1e-3], [1e-3] * 3
EXPECTED = {
    1: [HEAD] * 2 + [ALL] * 3,
    2: [HEAD] * 3 + [ALL] * 2,  # the first is the best
    3: [HEAD, [None, 1e-3, 1e-3], ALL, ALL, ALL],
    4: [HEAD] * 2 + [[1e-5, 1e-5, 1e-4]] * 3,
    5: None,
    6: [ALL] * 2 + [[1e-4] * 3] * 3,
    7: [HEAD] * 3 + [ALL] * 2,
    8: [HEAD] * 2 + [ALL] * 3,
}


def rows():
    lines = [line for line in TABLE.read_text().splitlines() if re.match(r"\| \d\. ", line)]
    return {int(line[2]): re.fullmatch(r"`(.*)`", line.split(" | ")[1])[1] for line in lines}


def new_model():
    blocks = [layers.Dense(4, activation="tanh", name=name) for name in ("block1", "block2")]
    body = keras.Sequential(blocks, name="body")
    model = keras.Sequential([keras.Input((4,)), body, layers.Dense(3, activation="softmax", name="head")])
    numbers = np.random.default_rng(3)
    model.set_weights([numbers.normal(size=weight.shape).astype("float32") for weight in model.get_weights()])
    return model


class Decides(keras.callbacks.Callback):
    """The metrics of the validation, as the test wants them."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_test_end(self, logs=None):
        logs.update(loss=[3.0, 4.0, 5.0, 2.0, 1.0][self.epoch], accuracy=[0.5, 0.95, 0.5, 0.5, 0.5][self.epoch])


class Notes(keras.callbacks.Callback):
    """The rates at the beginning of each epoch; the weights at its end, and when a phase begins."""

    def __init__(self):
        super().__init__()
        self.rates, self.weights, self.begun = [], [], []

    def on_epoch_begin(self, epoch, logs=None):
        rates = self.model.optimizer.effective_rates()
        blocks = [*self.model.get_layer("body").layers, self.model.get_layer("head")]
        self.rates.append([rates.get(id(layer.kernel)) for layer in blocks])

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(self.model.get_weights())

    def on_phase_begin(self, phase, logs=None):
        self.begun.append(self.model.get_weights())


def train(code):
    model, notes = new_model(), Notes()
    model.compile(difflr.optimizers.SGD(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    phases = eval(code, {"difflr": difflr, "Phase": Phase, "OneCycle": OneCycle, "model": model})
    callbacks = [Decides(), difflr.PhaseScheduler(phases), notes]
    arguments = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "validation_data": (X, Y)}
    model.fit(X, Y, epochs=5, callbacks=callbacks, **arguments)
    return notes


def test_the_table_has_eight_rows():
    assert list(rows()) == list(EXPECTED)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("number", [number for number, rates in EXPECTED.items() if rates])
def test_who_trains_at_which_rate(number):
    rates = train(rows()[number]).rates
    assert [[None if rate is None else pytest.approx(rate) for rate in epoch] for epoch in EXPECTED[number]] == rates


@pytest.mark.same_everywhere
def test_the_cycles():
    rates = train(rows()[5]).rates
    one, half = OneCycle(1e-3, 6), OneCycle(5e-4, 9)

    def at(cycle, step):
        return pytest.approx(float(keras.ops.convert_to_numpy(cycle(step))), rel=1e-4)

    assert [epoch[2] for epoch in rates] == [at(one, 0), at(one, 3), at(half, 0), at(half, 3), at(half, 6)]
    assert [epoch[0] for epoch in rates] == [None, None, at(half, 0), at(half, 3), at(half, 6)]


@pytest.mark.same_everywhere
def test_the_best_weights():
    notes = train(rows()[7])
    for weights, best in zip(notes.begun[1], notes.weights[0], strict=True):
        np.testing.assert_array_equal(weights, best)
