"""Keras's own callbacks and files of weights: what they bring back is the run as it was."""

import keras
import numpy as np
import pytest

import difflr
from saving import interrupted, kinds
from saving.conftest import saying
from saving.test_resume import assert_equal

OTHERS_RULE = "changed while training are restored: one/kernel 0.3 instead of 0.1"


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


FREQUENCIES = {"backup_by_epoch": "epoch", "backup_by_batch": 1}


@pytest.fixture(params=["backup_by_epoch"])
def backup(request, tmp_path):
    """The backup of a run that was interrupted."""
    batch = None if request.param == "backup_by_epoch" else 1
    callback = interrupted.backup(tmp_path / "backup", FREQUENCIES[request.param])
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(interrupted.model(), callback, interrupted.Interrupt(batch))
    return interrupted.backup(tmp_path / "backup")


@pytest.fixture
def expected(unbroken, unbroken_from_a_batch):
    return {"backup_by_epoch": unbroken[-1], "backup_by_batch": unbroken_from_a_batch}


@pytest.mark.same_everywhere
@pytest.mark.parametrize("backup", FREQUENCIES, indirect=True)
def test_backup_is_taken_up(backup, expected, request):
    model = interrupted.model()
    with saying(OTHERS_RULE):
        interrupted.run(model, backup)
    assert_equal(expected[request.node.callspec.id], kinds.state(model))


def other_plan(model):
    plan = difflr.Plan(model, {"two": 0.1, "one": 0.5, "one/bias": difflr.FROZEN, "head": 2.0})
    model.compile(difflr.optimizers.AdamW(0.02, weight_decay=0.1, multipliers=plan), loss="mse")
    return plan


@pytest.mark.same_everywhere
def test_backup_is_taken_up_with_another_plan(backup):
    model = interrupted.model()
    plan = other_plan(model)
    bias = keras.ops.convert_to_numpy(model.get_layer("one").bias)
    with saying(r"differs from the saved one: one/kernel 0.5 instead of .*To use the saved plan: difflr\.replan"):
        interrupted.run(model, backup)
    assert model.optimizer.plan == plan
    assert not model.get_layer("one").bias.trainable
    assert not np.array_equal(keras.ops.convert_to_numpy(model.get_layer("one").bias), bias)  # that of the file
    difflr.replan(model, model.optimizer.loaded_plan)
    assert model.get_layer("one").bias.trainable


@pytest.mark.same_everywhere
def test_checkpoints_of_whole_models(tmp_path, unbroken):
    saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    interrupted.run(interrupted.model(), saver)
    model = keras.saving.load_model(tmp_path / "3.keras")
    assert_equal(unbroken[2], kinds.state(model))
    interrupted.run(model, initial_epoch=3)
    assert_equal(unbroken[-1], kinds.state(model))


@pytest.mark.same_everywhere
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


@pytest.mark.same_everywhere
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


@pytest.mark.same_everywhere
def test_weights_into_a_model_that_was_never_trained(weights):
    """As with stock Keras: the weights are there, the optimizer is new, and a warning says so."""
    path, trained = weights
    model = interrupted.model()
    with saying("Skipping variable loading for optimizer"):
        model.load_weights(path)
    assert_equal(*({str(i): w for i, w in enumerate(each.get_weights())} for each in (trained, model)))
    interrupted.run(model, epochs=1)
    assert int(model.optimizer.iterations) == 3


@pytest.mark.same_everywhere
def test_weights_with_another_plan_bring_the_state_by_variable(weights):
    path, trained = weights
    model = interrupted.model()
    other_plan(model)
    model.optimizer.build(model.trainable_variables)
    with saying("The plan differs from the saved one"):
        model.load_weights(path)
    mine, theirs = model.optimizer.state_entries(), trained.optimizer.state_entries()
    both = [key for key in mine if key[0] is not None and key in theirs]
    assert {"one/kernel", "two/kernel", "head/bias"} <= {place for place, _ in both}
    for key in both:
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(each[key]) for each in (mine, theirs)))
    fresh = [key for key in mine if key[0] == "two/bias"]  # frozen in the file
    assert fresh
    assert not any(keras.ops.convert_to_numpy(mine[key]).any() for key in fresh)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("arguments", [{}, {"skip_mismatch": True}])
def test_weights_saved_with_another_optimizer_are_loaded_without_its_state(weights, arguments):
    path, trained = weights
    model = interrupted.model()
    model.compile(difflr.optimizers.SGD(0.1, multipliers=model.optimizer.plan), loss="mse")
    model.optimizer.build(model.trainable_variables)
    with saying("was not loaded, and it starts fresh: the file has, for each variable, _momentums, _velocities"):
        model.load_weights(path, **arguments)
    assert_equal(*({str(i): w for i, w in enumerate(each.get_weights())} for each in (trained, model)))
    assert int(model.optimizer.iterations) == 0


@pytest.mark.same_everywhere
def test_the_state_of_a_stock_optimizer_is_loaded(tmp_path):
    """Keras saves it by position; the plan here trains all that was trained there."""
    model = interrupted.model()
    difflr.replan(model, difflr.Plan(model))  # unfreezes everything
    model.compile(keras.optimizers.AdamW(0.1), loss="mse")
    interrupted.run_stock(model)
    model.save_weights(tmp_path / "model.weights.h5")
    other = interrupted.model()
    other.compile(difflr.optimizers.AdamW(0.1, multipliers=difflr.Plan(other, {"one": 0.5})), loss="mse")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.h5")
    stock = [keras.ops.convert_to_numpy(variable) for variable in model.optimizer.variables]
    ours = [keras.ops.convert_to_numpy(v) for v in other.optimizer.variables if v.name != "numbers"]
    for a, b in zip(stock, ours, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.same_everywhere
def test_a_backup_keeps_the_factors_of_lora(tmp_path):
    """Keras merges them into the kernel when it saves; loaded as 0, both, they would have no gradient ever again."""

    def fit(epochs, *callbacks):
        model = interrupted.model()
        model.get_layer("one").enable_lora(2)
        model.get_layer("one").lora_kernel_a.assign(np.full((4, 2), 0.5))
        model.compile(difflr.optimizers.Adam(0.01), loss="mse")
        x, y = np.ones((4, 4), "float32"), np.ones((4, model.output_shape[-1]), "float32")
        model.fit(x, y, epochs=epochs, callbacks=callbacks, verbose=0)
        return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}

    fit(1, difflr.BackupAndRestore(tmp_path, delete_checkpoint=False))
    assert_equal(fit(2, difflr.BackupAndRestore(tmp_path)), fit(2))
