"""Interrupted in the middle of any phase and taken up again: the run as it would have been without the break."""

import shutil
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

import difflr
from difflr import Phase
from phases import phases_interrupted as interrupted
from phases.in_phases import assert_same
from phases.phases_interrupted import EPOCHS, MODELS, PHASES, Interrupt, new_model, phases_of, run, state
from processes import QUICKLY, environment
from saving.conftest import saying

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def unbroken():
    """For phases and kind of model the state at the end of a run without a break; computed once."""
    known = {}

    def final(name, kind="functional"):
        if (name, kind) not in known:
            model = new_model(kind)
            run(model, phases_of(name, kind))
            known[name, kind] = state(model)
        return known[name, kind]

    return final


BREAKS = [("epochs", 2, False), ("epochs", 4, True), ("steps", 1, True), ("plateau", 3, False), ("plateau", 4, True)]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("name", "epoch", "scheduler_last"), BREAKS)
def test_backup_is_taken_up_at_the_beginning_of_an_epoch(unbroken, tmp_path, name, epoch, scheduler_last):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES[name], backup, Interrupt(epoch), scheduler_last=scheduler_last)
    model = new_model()
    run(model, PHASES[name], backup, scheduler_last=scheduler_last)
    assert_same(state(model), unbroken(name))


KILLED = [
    ("rates", 1, 1),
    ("rates", 3, None),
    ("rates", 4, 0),
    ("rates", 5, None),
    ("rates", 6, 2),
    ("functions", 2, None),
]


@pytest.mark.same_everywhere(but=["rates-3-None"])
@pytest.mark.parametrize(("name", "epoch", "batch"), KILLED)
def test_killed_in_any_phase_and_taken_up(unbroken, tmp_path, name, epoch, batch):
    """The rates of the phase, its best weights, a changed multiplier and what a function said are in the backup."""
    scheduler_last = epoch % 2 == 0
    backup = difflr.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES[name], backup, Interrupt(epoch, batch), scheduler_last=scheduler_last)
    model = new_model()
    run(model, PHASES[name], backup, scheduler_last=scheduler_last)
    assert_same(state(model), unbroken(name))


@pytest.mark.same_everywhere
def test_killed_after_a_multiplier_was_changed(tmp_path):
    """Set in one phase and kept in the next, where its layer is one of a group that has another number."""

    class Sets(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 0:
                self.model.optimizer.multipliers[self.model.get_layer("head")] = 0.3

    def interrupted_at(epoch, folder):
        backup, model = difflr.BackupAndRestore(folder), new_model()
        phases = [Phase("head", epochs=2), Phase("mid", epochs=2), Phase("*")]
        with pytest.raises(KeyboardInterrupt):
            run(model, phases, backup, Sets(), Interrupt(epoch))
        model = new_model()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Multipliers that were changed")
            run(model, phases, backup, Sets())
        return state(model)

    first, *others = (interrupted_at(epoch, tmp_path / str(epoch)) for epoch in (6, 1, 3, 5))
    for other in others:
        assert_same(other, first)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("kind", MODELS[1:])
def test_backup_of_other_models(unbroken, tmp_path, kind):
    phases = phases_of("epochs", kind)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        run(new_model(kind), phases, backup, Interrupt(4))
    model = new_model(kind)
    run(model, phases, backup)
    assert_same(state(model), unbroken("epochs", kind))


@pytest.mark.same_everywhere(but=["steps-True"])
@pytest.mark.parametrize(("name", "scheduler_last"), [("steps", True), ("plateau", False)])
def test_backup_is_taken_up_in_the_middle_of_an_epoch(tmp_path, name, scheduler_last):
    """Keras repeats the epoch from its beginning, with the state of the last batch: here without the break."""
    expected = new_model()
    with pytest.raises(KeyboardInterrupt):
        run(expected, PHASES[name], Interrupt(2, 1))
    with saying("after 2 steps of epoch 3, which this `fit` starts again"):
        run(expected, PHASES[name], initial_epoch=2)

    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES[name], backup, Interrupt(2, 1), scheduler_last=scheduler_last)
    model = new_model()
    with saying(r"difflr.BackupAndRestore does not"):
        run(model, PHASES[name], backup, scheduler_last=scheduler_last)
    assert_same(state(model), state(expected))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """For a kind of model the files of a run without a break, one for each epoch; made once."""
    known = {}

    def files(kind):
        if kind not in known:
            known[kind] = tmp_path_factory.mktemp(kind)
            whole = keras.callbacks.ModelCheckpoint(known[kind] / "{epoch}.keras")
            weights = keras.callbacks.ModelCheckpoint(known[kind] / "{epoch}.weights.h5", save_weights_only=True)
            run(new_model(kind), phases_of("epochs", kind), whole, weights)
        return known[kind]

    return files


@pytest.mark.same_everywhere(but=["functional-1"])
@pytest.mark.parametrize(("kind", "epoch"), [("functional", 1), ("functional", 6), *[(kind, 4) for kind in MODELS[1:]]])
def test_checkpoint_of_the_whole_model(unbroken, checkpoints, kind, epoch):
    with interrupted.policy_of(kind):  # Keras saves that of the layers, not that of the model
        model = keras.saving.load_model(checkpoints(kind) / f"{epoch}.keras")
    run(model, phases_of("epochs", kind), initial_epoch=epoch)
    assert_same(state(model), unbroken("epochs", kind))


def test_checkpoint_of_the_weights(unbroken, checkpoints):
    model = new_model()
    model.optimizer.bind(model)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(checkpoints("functional") / "4.weights.h5")
    run(model, PHASES["epochs"], initial_epoch=4)
    assert_same(state(model), unbroken("epochs"))


@pytest.mark.same_everywhere
def test_loaded_in_another_process(unbroken, checkpoints, tmp_path):
    kind = "with_statistics"
    shutil.copy(checkpoints(kind) / "4.keras", tmp_path / "model.keras")
    command = [sys.executable, "-W", "ignore", interrupted.__file__, str(tmp_path), "epochs", kind, "4"]
    done = subprocess.run(command, env=environment(**QUICKLY), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "state.npz") as saved:
        assert_same([saved[name] for name in saved.files], unbroken("epochs", kind))


@pytest.mark.same_everywhere
def test_saved_and_loaded_twice_before_it_goes_on(unbroken, tmp_path):
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        run(model, PHASES["epochs"], Interrupt(4))
    loaded = model
    for name in ("one", "two"):
        loaded.save(tmp_path / f"{name}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{name}.keras")
    for each in (model, loaded):
        run(each, PHASES["epochs"], initial_epoch=4)
    assert_same(state(model), unbroken("epochs"))
    model = loaded
    assert_same(state(model), unbroken("epochs"))


def test_a_second_fit_goes_on_with_the_same_scheduler(unbroken):
    model, scheduler = new_model(), difflr.PhaseScheduler(PHASES["epochs"])
    arguments = {"batch_size": 4, "shuffle": False, "verbose": 0, "callbacks": [scheduler]}
    model.fit(interrupted.X, interrupted.Y, epochs=6, **arguments)
    model.fit(interrupted.X, interrupted.Y, epochs=EPOCHS, initial_epoch=6, **arguments)
    assert_same(state(model), unbroken("epochs"))


def test_the_best_weights_are_restored_across_phases():
    model, weights = new_model(), []
    stop = keras.callbacks.EarlyStopping("loss", min_delta=100, patience=4, restore_best_weights=True)
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights()))
    with saying("EarlyStopping ended `fit` in phase 3 of 4 after epoch 5: phase 4 did not begin"):
        run(model, PHASES["epochs"], stop, note)
    assert len(weights) == 5
    assert_same(model.get_weights(), weights[0])


@pytest.mark.same_everywhere
def test_a_run_begins_anew_after_one_that_has_ended():
    model, trainable = new_model(), []
    run(model, PHASES["epochs"])
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda e, logs: trainable.append(len(model.trainable_variables)))
    run(model, PHASES["epochs"], note)
    assert trainable == [2, 2, 1, 4, 4, 5, 5]


@pytest.mark.same_everywhere
def test_an_interrupted_run_is_not_begun_anew_in_silence():
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        run(model, PHASES["epochs"], Interrupt(4))
    with pytest.raises(ValueError, match=r"interrupted in epoch 5, in phase 3.*initial_epoch=4,.*resume=False"):
        run(model, PHASES["epochs"])
    scheduler = difflr.PhaseScheduler(PHASES["epochs"], resume=False)
    model.fit(interrupted.X, interrupted.Y, epochs=EPOCHS, verbose=0, callbacks=[scheduler])
    assert model.optimizer.callback_state["PhaseScheduler"]["number"] == 3


@pytest.mark.same_everywhere
def test_phases_that_have_not_begun_can_be_edited():
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        run(model, PHASES["epochs"], Interrupt(1))
    run(model, [PHASES["epochs"][0], Phase("*")], initial_epoch=1)
    assert len(model.trainable_variables) == 5


@pytest.mark.same_everywhere
def test_a_run_is_not_taken_up_with_other_phases():
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        run(model, PHASES["epochs"], Interrupt(4))
    with pytest.raises(ValueError, match="Only the running phase and later ones can be edited"):
        run(model, [Phase("mid", epochs=5), Phase("*")], initial_epoch=4)


def test_a_state_from_before_the_phases_is_taken_up(tmp_path):
    """The weights of a run without phases are loaded in the middle of one: all of its state is there."""
    model = new_model()
    model.fit(interrupted.X, interrupted.Y, epochs=1, verbose=0)
    model.save_weights(tmp_path / "all.weights.h5")
    before = state(model)
    with pytest.raises(KeyboardInterrupt):
        run(model, PHASES["epochs"], Interrupt(2))
    model.load_weights(tmp_path / "all.weights.h5")
    assert_same(state(model), before)
