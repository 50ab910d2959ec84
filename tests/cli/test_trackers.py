"""`--log`: the numbers of every epoch reach MLflow, W&B and TensorBoard, here stubs with the functions that are called."""

import importlib.util
import sys
import types

import keras
import numpy as np
import pytest
import typer

from difflr_command import trackers

pytestmark = pytest.mark.same_everywhere


class Stub(types.ModuleType):
    """A module that writes down what is called."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []
        self.id, self.info = f"{name}-1", types.SimpleNamespace(run_id=f"{name}-1")

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments, **named):
            self.calls.append((name, *arguments, *named.values()))
            return self

        return call


@pytest.fixture
def stubs(monkeypatch):
    found = {name: Stub(name) for name in ("mlflow", "wandb")}
    for name, stub in found.items():
        monkeypatch.setitem(sys.modules, name, stub)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: types.SimpleNamespace())
    return types.SimpleNamespace(**found)


def fitted(callbacks, epochs=2):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", loss="mse")
    return model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=epochs, verbose=0, callbacks=callbacks).history["loss"]


def test_what_reaches_them(stubs, tmp_path):
    names = trackers.trackers_in("mlflow, wandb")
    before = [{"loss": 3.0, "learning_rate/block*+2": 0.1, "bad": float("nan")}]
    ids = {}
    (tmp_path / "net.keras").touch()
    files = [tmp_path / "net.keras", tmp_path / "never_written.html"]
    with trackers.tracked(names, "net on images", {"epochs": "2"}, before, tmp_path, ids, files) as callbacks:
        losses = fitted(callbacks)
    assert ids == {"mlflow": "mlflow-1", "wandb": "wandb-1"}
    assert stubs.mlflow.calls == [
        ("start_run", None, "net on images"),
        ("log_params", {"epochs": "2"}),
        ("log_metrics", {"loss": 3.0, "learning_rate/block__2": 0.1}, 1),
        ("log_metrics", {"loss": pytest.approx(losses[0])}, 1),
        ("log_metrics", {"loss": pytest.approx(losses[1])}, 2),
        ("log_artifact", str(tmp_path / "net.keras")),
        ("end_run", "FINISHED"),
    ]
    assert stubs.wandb.calls[0] == ("init", "net on images", {"epochs": "2"}, None, None)
    assert stubs.wandb.calls[1] == ("log", {"loss": 3.0, "learning_rate/block*+2": 0.1}, 1)
    assert stubs.wandb.calls[-2:] == [("save", str(tmp_path / "net.keras"), str(tmp_path), "now"), ("finish", 0)]


def test_a_resumed_run_goes_on_in_its_runs(stubs, tmp_path):
    ids = {"mlflow": "m", "wandb": "w"}
    with trackers.tracked(("mlflow", "wandb"), "net", {"epochs": "2"}, [{"loss": 3.0}], tmp_path, ids):
        pass
    assert stubs.mlflow.calls == [("start_run", "m", "net"), ("end_run", "FINISHED")]  # nothing is logged twice
    assert stubs.wandb.calls[0] == ("init", "net", {"epochs": "2"}, "w", "allow")


def test_a_tracker_that_fails_while_training_is_left_out(stubs, tmp_path, capsys, monkeypatch):
    def failing(self, logs, epoch):
        raise ConnectionError("no network")

    monkeypatch.setattr(trackers.WandB, "log", failing)
    with trackers.tracked(("wandb", "mlflow"), "run", {}, [], tmp_path, {}) as callbacks:
        assert len(fitted(callbacks)) == 2
    assert capsys.readouterr().err.count("--log wandb: nothing more is logged there: ConnectionError: no network") == 1
    assert [call[0] for call in stubs.mlflow.calls].count("log_metrics") == 2


def test_a_tracker_that_cannot_begin_ends_the_run_before_it_trains(stubs, tmp_path, capsys, monkeypatch):
    def failing(self, title, settings, run_id):
        raise ConnectionError("no server")

    monkeypatch.setattr(trackers.WandB, "__init__", failing)
    with pytest.raises(typer.Exit), trackers.tracked(("mlflow", "wandb"), "run", {}, [], tmp_path, {}):
        pass
    assert "error: --log wandb cannot begin: no server" in capsys.readouterr().err
    assert stubs.mlflow.calls[-1] == ("end_run", "FAILED")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_run_that_stops_is_ended_as_failed(stubs, tmp_path, error):
    with pytest.raises(error), trackers.tracked(("mlflow", "wandb"), "run", {}, [], tmp_path, {}):
        raise error
    assert stubs.mlflow.calls[-1] == ("end_run", "FAILED")
    assert stubs.wandb.calls[-1] == ("finish", 1)


def test_a_tracker_that_fails_at_its_end_costs_nothing(stubs, tmp_path, capsys, monkeypatch):
    def failing(self, failed, files):
        raise ConnectionError("no network")

    monkeypatch.setattr(trackers.WandB, "end", failing)
    with trackers.tracked(("wandb", "mlflow"), "run", {}, [], tmp_path, {}):
        pass
    assert "warning: --log wandb: nothing more is logged there: ConnectionError: no network" in capsys.readouterr().err
    assert stubs.mlflow.calls[-1] == ("end_run", "FINISHED")


def test_tensorboard_is_kerass_own(stubs, tmp_path):
    with trackers.tracked(trackers.trackers_in("tensorboard"), "run", {}, [], tmp_path / "logs", {}) as callbacks:
        assert [type(callback) for callback in callbacks] == [keras.callbacks.TensorBoard]
        assert callbacks[0].log_dir == str(tmp_path / "logs")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tensorbord", "--log knows tensorboard, mlflow, wandb, with commas between them. Received: 'tensorbord'."),
        ("mlflow", "--log mlflow needs mlflow: pip install mlflow"),
        ("tensorboard", "--log tensorboard needs tensorboard: pip install tensorboard"),
    ],
)
def test_what_is_not_there_is_told(text, told, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=".") as caught:
        trackers.trackers_in(text)
    assert str(caught.value) == told
    assert trackers.trackers_in(None) == ()
