"""How much of difflr runs when a phase begins and when a model is loaded: distinct files and functions."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase, PhaseScheduler, Plan

pytestmark = pytest.mark.same_everywhere
SOURCE = str(Path(difflr.__file__).parent)
X, Y = np.ones((16, 4), "float32"), np.zeros((16, 3), "float32")


class Ran:
    """The functions of difflr that are called inside the `with` block, without comprehensions and lambdas."""

    def __enter__(self):
        self.functions = set()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)

    def _note(self, frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(SOURCE) and not code.co_name.startswith("<"):
            self.functions.add((code.co_filename, code.co_qualname))

    @property
    def counts(self):
        return len({file for file, _ in self.functions}), len(self.functions)


def compiled(rules=None):
    layers = [keras.layers.Dense(8, name=name) for name in ("low", "high")]
    backbone = keras.Sequential([keras.Input((4,)), *layers], name="backbone")
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(backbone(inputs)))
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=Plan(model, rules)), loss="mse")
    return model


def test_a_change_of_phase_runs_what_it_needs():
    ran = Ran()

    class Watched(PhaseScheduler):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 0:
                return super().on_epoch_begin(epoch, logs)
            with ran:
                return super().on_epoch_begin(epoch, logs)

    phases = [Phase("head", epochs=1), Phase("*")]
    compiled().fit(X, Y, epochs=2, batch_size=8, verbose=0, callbacks=[Watched(phases)])
    files, functions = ran.counts
    assert files <= 11
    assert functions <= 49


def test_a_load_runs_what_it_needs(tmp_path):
    model = compiled({"backbone": 0.1})
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    with Ran() as ran:
        keras.models.load_model(tmp_path / "model.keras")
    files, functions = ran.counts
    assert files <= 21
    assert functions <= 83
