"""Keras's own callbacks and files of weights: what they bring back is the run as it was."""

import shutil

import keras
import numpy as np
import pytest

import difflr
from saving import interrupted, kinds
from saving.conftest import FREQUENCIES, saying
from saving.test_resume import assert_equal

OTHERS_RULE = "multipliers of the saved state replace those of the plan: one/kernel 0.3 instead of 0.1"


@pytest.fixture(scope="module")
def unbroken():
    """The final state of a run without a break, and the state after each epoch."""
    with kinds.quick_initializers():
        model, states = interrupted.model(), []
        note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: states.append(kinds.state(model)))
        interrupted.run(model, note)
    return states


@pytest.fixture(scope="module")
def unbroken_from_a_batch():
    """Keras takes up an epoch that was broken off from its beginning, with the state of the last batch: in one go."""
    with kinds.quick_initializers():
        model = interrupted.model()
        interrupted.run(model, epochs=3)
        interrupted.run(model, epochs=4, initial_epoch=3, steps_per_epoch=2)
        interrupted.run(model, initial_epoch=3)
    return kinds.state(model)


@pytest.fixture
def expected(unbroken, unbroken_from_a_batch):
    return {"backup_by_epoch": unbroken[-1], "backup_by_batch": unbroken_from_a_batch}


@pytest.mark.parametrize("name", FREQUENCIES)
def test_backup_is_taken_up_in_this_process(runs, tmp_path, expected, name):
    shutil.copytree(runs.folder / f"kept_{name}", tmp_path / "backup")
    model = interrupted.model()
    with saying(OTHERS_RULE):
        interrupted.run(model, interrupted.backup(tmp_path / "backup"))
    assert_equal(expected[name], kinds.state(model))


@pytest.mark.parametrize("name", FREQUENCIES)
def test_backup_is_taken_up_in_another_process(runs, expected, name):
    there = runs.there[name]
    assert "error" not in there, there["error"]
    assert_equal(expected[name], there["state"])
    assert len(there["warnings"]) == 1
    assert OTHERS_RULE in there["warnings"][0]


def test_backup_of_another_plan_is_refused(runs, tmp_path):
    shutil.copytree(runs.folder / "kept_backup_by_epoch", tmp_path / "backup")
    model = interrupted.model()
    plan = difflr.Plan(model, {"two": 0.1, "one": 0.5, "one/bias": difflr.FROZEN, "head": 2.0})
    model.compile(difflr.optimizers.AdamW(0.02, weight_decay=0.1, multipliers=plan), loss="mse")
    with pytest.raises(ValueError, match=r"another plan: .*one/bias \(group 1 in the file, frozen here\)"):
        interrupted.run(model, interrupted.backup(tmp_path / "backup"))


def test_checkpoints_of_whole_models(tmp_path, unbroken):
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    interrupted.run(interrupted.model(), saver)
    model = keras.saving.load_model(tmp_path / "3.keras")
    assert_equal(unbroken[2], kinds.state(model))
    interrupted.run(model, initial_epoch=3)
    assert_equal(unbroken[-1], kinds.state(model))


def test_checkpoint_of_the_best_epoch(tmp_path, unbroken):
    """The loss is made the distance to the third epoch, so that it is the best and no last one."""
    chosen = [5.0, 4.0, 1.0, 2.0, 3.0]

    class Score(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["score"] = chosen[epoch]

    path = tmp_path / "best.keras"
    saver = keras.callbacks.ModelCheckpoint(path, monitor="score", mode="min", save_best_only=True)
    interrupted.run(interrupted.model(), Score(), saver)
    assert_equal(unbroken[2], kinds.state(keras.saving.load_model(path)))


def test_checkpoint_of_weights_brings_the_state_along(tmp_path, unbroken):
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
    interrupted.run(interrupted.model(), saver)
    model = interrupted.model()
    model.optimizer.build(model.trainable_variables)
    with saying(OTHERS_RULE):
        model.load_weights(tmp_path / "3.weights.h5")
    interrupted.run(model, initial_epoch=3)
    assert_equal(unbroken[-1], kinds.state(model))


def test_early_stopping_restores_the_best_weights(unbroken):
    model = interrupted.model()
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=2, restore_best_weights=True)
    interrupted.run(model, stop)
    for mine, best in zip(model.get_weights(), unbroken[0].values(), strict=False):
        np.testing.assert_array_equal(mine, best)


@pytest.fixture
def weights(tmp_path):
    """A file of weights of a trained model, and the model."""
    model = interrupted.model()
    interrupted.run(model, epochs=1)
    model.save_weights(tmp_path / "model.weights.h5")
    return tmp_path / "model.weights.h5", model


def test_weights_into_a_model_that_was_never_trained(weights):
    """As with stock Keras: the weights are there, the optimizer is new, and a warning says so."""
    path, trained = weights
    model = interrupted.model()
    with saying("Skipping variable loading for optimizer"):
        model.load_weights(path)
    assert_equal(*({str(i): w for i, w in enumerate(each.get_weights())} for each in (trained, model)))
    interrupted.run(model, epochs=1)
    assert int(model.optimizer.iterations) == 3


def test_weights_with_another_plan_of_equal_size_do_not_mix_up_the_state(weights):
    path, trained = weights
    model = interrupted.model()
    plan = difflr.Plan(model, {"two": 0.1, "one": 0.5, "one/bias": difflr.FROZEN, "head": 2.0})
    model.compile(difflr.optimizers.AdamW(0.02, weight_decay=0.1, multipliers=plan), loss="mse")
    model.optimizer.build(model.trainable_variables)
    assert len(model.optimizer.variables) == len(trained.optimizer.variables)
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.optimizer.variables]
    with pytest.raises(
        ValueError, match=r"It was saved with another plan: .*two/bias \(frozen in the file, group 2 here\)"
    ):
        model.load_weights(path)
    for array, variable in zip(before, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(array, keras.ops.convert_to_numpy(variable))


def test_skip_mismatch_takes_the_weights_alone(weights):
    path, trained = weights
    model = interrupted.model()
    model.compile(difflr.optimizers.SGD(0.1, multipliers=model.optimizer.plan), loss="mse")
    model.optimizer.build(model.trainable_variables)
    with saying("does not fit this SGD"):
        model.load_weights(path, skip_mismatch=True)
    assert_equal(*({str(i): w for i, w in enumerate(each.get_weights())} for each in (trained, model)))


def test_weights_saved_with_another_optimizer_are_refused(weights):
    path, trained = weights
    model = interrupted.model()
    model.compile(difflr.optimizers.SGD(0.1, multipliers=model.optimizer.plan), loss="mse")
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(ValueError, match=r"has \d+ variables and does not fit this SGD, which has \d+"):
        model.load_weights(path)


def test_weights_saved_with_a_stock_optimizer_are_refused(tmp_path):
    model = interrupted.model()
    model.compile(keras.optimizers.AdamW(0.1), loss="mse")
    interrupted.run_stock(model)
    model.save_weights(tmp_path / "model.weights.h5")
    other = interrupted.model()
    other.optimizer.build(other.trainable_variables)
    with pytest.raises(ValueError, match="does not fit this AdamW"):
        other.load_weights(tmp_path / "model.weights.h5")
