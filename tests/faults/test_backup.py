"""`BackupAndRestore`: the backup is whole at any time, and a run goes on from it as if there had been no break."""

import contextlib
import os
import resource
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import difflr
from difflr.files import whole_file
from phases import phases_interrupted as interrupted
from phases.in_phases import assert_same
from phases.phases_interrupted import PHASES, Interrupt, new_model, run, state
from saving.conftest import saying

pytestmark = pytest.mark.usefixtures("quick_compilation")
EPOCHS = 4


def backups(folder):
    """The epochs of the backups in a folder, by path."""
    return {int(path.name.split("-")[2]): path for path in Path(folder).glob("difflr-backup-*")}


@pytest.fixture(scope="module")
def unbroken():
    model = new_model()
    run(model, PHASES["steps"], epochs=EPOCHS)
    return state(model)


@pytest.mark.same_everywhere(but=["at1"])
@pytest.mark.parametrize("at", [(1, None), (2, 1)])
def test_a_broken_run_goes_on_exactly(unbroken, tmp_path, at):
    folder = tmp_path / "back" / "up"
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES["steps"], difflr.BackupAndRestore(folder), Interrupt(*at), epochs=EPOCHS)
    assert list(backups(folder)) == [at[0]]
    model, epochs = new_model(), []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    run(model, PHASES["steps"], difflr.BackupAndRestore(str(folder)), note, epochs=EPOCHS)
    assert_same(state(model), unbroken)
    assert epochs == list(range(at[0], EPOCHS))
    assert not folder.exists()


@contextlib.contextmanager
def full_disk(room):
    """No file can become longer than `room` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.same_everywhere
@pytest.mark.parametrize("room", [100, 10_000])
def test_a_full_disk_leaves_the_last_backup(unbroken, tmp_path, room):
    """HDF5 crashes the whole process when it meets a full disk itself."""
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES["steps"], difflr.BackupAndRestore(tmp_path), Interrupt(1), epochs=EPOCHS)
    kept = backups(tmp_path)[1].read_bytes()
    assert len(kept) > room
    backup = difflr.BackupAndRestore(tmp_path)
    backup.on_epoch_end = full_disk(room)(backup.on_epoch_end)
    with pytest.raises(OSError, match="File too large"):
        run(new_model(), PHASES["steps"], backup, epochs=EPOCHS)
    assert len(os.listdir(tmp_path)) == 1
    assert backups(tmp_path)[1].read_bytes() == kept
    model = new_model()
    run(model, PHASES["steps"], difflr.BackupAndRestore(tmp_path), epochs=EPOCHS)
    assert_same(state(model), unbroken)


def test_a_full_disk_leaves_the_saved_model(tmp_path):
    path, model = tmp_path / "model.keras", small()
    fit(model, keras.callbacks.Callback(), epochs=1)
    model.save(path)
    kept = path.read_bytes()

    def save():
        with whole_file(path) as unfinished:
            model.save(unfinished)

    with full_disk(5000), pytest.raises(OSError, match="File too large"):
        save()
    assert os.listdir(tmp_path) == ["model.keras"]
    assert path.read_bytes() == kept
    save()
    assert keras.saving.load_model(path).optimizer.iterations == 1


def test_broken_off_while_it_saves(unbroken, tmp_path, monkeypatch):
    """In the middle of writing: the epoch before is what is there."""
    write = Path.write_bytes

    def write_half(path, content):
        half = len(content) // 2 if backups(tmp_path) else len(content)
        write(path, content[:half])
        if half < len(content):
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES["steps"], difflr.BackupAndRestore(tmp_path), epochs=EPOCHS)
    monkeypatch.undo()
    assert len(os.listdir(tmp_path)) == len(backups(tmp_path)) == 1
    model = new_model()
    run(model, PHASES["steps"], difflr.BackupAndRestore(tmp_path), epochs=EPOCHS)
    assert_same(state(model), unbroken)


def small():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(difflr.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
    return model


def fit(model, backup, epochs=2):
    seen = []
    note = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    model.fit(np.ones((2, 2)), np.ones((2, 1)), epochs=epochs, verbose=0, callbacks=[backup, note])
    return seen


def test_broken_off_between_two_backups(tmp_path):
    """Both are there: the newer one counts. What is not a backup is let alone."""
    fit(small(), difflr.BackupAndRestore(tmp_path, delete_checkpoint=False))
    newest = backups(tmp_path)[2]
    shutil.copy(newest, str(newest).replace("backup-2-", "backup-10-"))
    others = [f".unfinished-0-{newest.name}", "11.weights.h5", "best.weights.h5"]
    for name in others:
        (tmp_path / name).write_text("of somebody else")
    assert fit(small(), difflr.BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=12) == [10, 11]
    assert sorted(os.listdir(tmp_path)) == sorted([*others, backups(tmp_path)[12].name])
    fit(small(), difflr.BackupAndRestore(tmp_path), epochs=13)
    assert sorted(os.listdir(tmp_path)) == others[1:]  # what a killed save left is ours


def test_the_next_fit_begins_where_it_is_told(tmp_path):
    model = small()
    fit(model, difflr.BackupAndRestore(tmp_path, delete_checkpoint=False), epochs=1)
    backup = difflr.BackupAndRestore(tmp_path)
    assert fit(model, backup, epochs=3) == [1, 2]
    assert fit(model, backup, epochs=2) == [0, 1]


def test_a_backup_that_cannot_be_read(tmp_path):
    fit(small(), difflr.BackupAndRestore(tmp_path, delete_checkpoint=False))
    path = backups(tmp_path)[2]
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"(?s)The backup .*backup-2-.* cannot be restored: .*remove the file"):
        fit(small(), difflr.BackupAndRestore(tmp_path))
    with pytest.raises(ValueError, match="`backup_dir` is empty"):
        difflr.BackupAndRestore("")


def dense(*units, seed=0):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((2,)), *map(keras.layers.Dense, units)])
    model.compile(difflr.optimizers.SGD(0.1), loss="mse", run_eagerly=True)
    return model


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("saved", "there"), [((1,), (3, 1)), ((3, 1), (1,)), ((1, 1), (1,))])
def test_a_backup_of_another_model(tmp_path, saved, there):
    """Of a larger one, too, of which Keras would load as much as fits; nothing has changed after the error."""
    fit(dense(*saved), difflr.BackupAndRestore(tmp_path, delete_checkpoint=False))
    model = dense(*there, seed=1)
    before = [np.array(weight) for weight in model.get_weights()]
    with pytest.raises(ValueError, match="The backup .* belongs to another model .* Use a folder for each"):
        fit(model, difflr.BackupAndRestore(tmp_path))
    for early, late in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(early, late)
    assert list(backups(tmp_path)) == [2]


def test_a_checkpoint_of_every_epoch_beside_it(tmp_path):
    path = str(tmp_path / "{epoch:02d}.weights.h5")
    callbacks = [keras.callbacks.ModelCheckpoint(path, save_weights_only=True), difflr.BackupAndRestore(tmp_path)]
    small().fit(np.ones((2, 2)), np.ones((2, 1)), epochs=3, verbose=0, callbacks=callbacks)
    assert sorted(os.listdir(tmp_path)) == ["01.weights.h5", "02.weights.h5", "03.weights.h5"]


@pytest.mark.same_everywhere
def test_weights_of_one_epoch_with_the_number_of_another_are_told(tmp_path):
    """What Keras's own callback leaves when it is killed between its two files."""
    keep = {"backup_dir": tmp_path, "delete_checkpoint": False}
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES["epochs"], keras.callbacks.BackupAndRestore(**keep), Interrupt(1))
    numbers = (tmp_path / "training_metadata.json").read_text()
    with pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES["epochs"], keras.callbacks.BackupAndRestore(**keep), Interrupt(2))
    (tmp_path / "training_metadata.json").write_text(numbers)
    steps = -(-len(interrupted.X) // interrupted.BATCH)
    with saying(f"after {steps} steps of epoch 2, which this `fit` starts again"), pytest.raises(KeyboardInterrupt):
        run(new_model(), PHASES["epochs"], keras.callbacks.BackupAndRestore(**keep), Interrupt(1, 0))
