"""What everybody expects of training: the best epoch kept, class weights, changed images, one run at a time."""

import fcntl
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

import difflr as library
from cli.commands import difflr, refused, succeeded
from difflr.data import Examples
from difflr_command import checkpoint, choices, results

pytestmark = [pytest.mark.usefixtures("quick_compilation"), pytest.mark.same_everywhere]

QUICK = ["--epochs", "2", "--freeze-epochs", "0", "--batch-size", "4", "--learning-rate", "0.05"]


@pytest.fixture
def worse(monkeypatch):
    """Validation is better in the second epoch, and worse from there on."""
    begun = checkpoint.Checkpoint.on_epoch_end
    losses = [0.9, 0.5, 0.6, 0.7, 0.8, 0.9]
    seen = []

    def on_epoch_end(self, epoch, logs=None):
        seen.append(self.model.get_weights())
        begun(self, epoch, {**logs, "val_loss": losses[epoch], "val_accuracy": 0.5})

    monkeypatch.setattr(checkpoint.Checkpoint, "on_epoch_end", on_epoch_end)
    return seen


def test_the_best_epoch_is_kept_and_training_stops(here, worse):
    result = succeeded("fine-tune", "net.keras", "images", *QUICK, "--epochs", "6", "--patience", "2")
    assert len(result["history"]["loss"]) == 4
    assert result["best_epoch"] == 1
    whole = keras.saving.load_model("tuned.keras")
    kept = {weight.path: np.asarray(keras.ops.convert_to_numpy(weight)) for weight in whole.weights}
    best, last = worse[1], worse[3]
    for values in kept.values():
        assert any(np.array_equal(values, weight) for weight in best)
    assert not all(any(np.array_equal(values, weight) for weight in last) for values in kept.values())
    assert not (here / "tuned.keras.checkpoint").exists()


def test_a_run_that_was_interrupted_while_it_wrote_the_model_goes_on_with_that(here, worse, monkeypatch):
    words = ["fine-tune", "net.keras", "images", *QUICK, "--epochs", "6", "--patience", "2"]
    succeeded(*words, "-o", "whole.keras")

    def interrupted(settings, run):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results, "write_model", interrupted)
        result = difflr(*words)
        assert result.code == 130
        assert "Interrupted after 4 of 6 epochs" in result.err
    del worse[:]
    assert succeeded(*words, "--resume")["best_epoch"] == 1
    assert worse == []  # nothing was trained again
    whole, tuned = (keras.saving.load_model(file).get_weights() for file in ("whole.keras", "tuned.keras"))
    for one, other in zip(whole, tuned, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_interrupt_while_images_are_read(here, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(library.data, "open_folder", interrupted)
    before = sorted(here.iterdir())
    result = difflr("fine-tune", "net.keras", "images")
    assert result.code == 130
    assert "Interrupted: nothing was begun." in result.err
    assert sorted(here.iterdir()) == before


def test_a_second_run_into_the_same_output_is_refused(here):
    with open("tuned.keras.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        told = refused("fine-tune", "net.keras", "images")
        assert told == "difflr: error: Another run writes to tuned.keras. Wait for it, or name another place."
        assert not (here / "tuned.keras").exists()
    (here / ".unfinished-12345678-tuned.keras").touch()  # by a run that was killed, whose lock the system let go of
    (here / ".unfinished-12345678-not-tuned.keras").touch()
    succeeded("fine-tune", "net.keras", "images", *QUICK)
    assert not (here / "tuned.keras.lock").exists()
    assert [path.name for path in here.glob(".unfinished-*")] == [".unfinished-12345678-not-tuned.keras"]


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["evaluate", "net.keras", "images", "--report", "page.html"], "page.html"),
        (["evaluate", "net.keras", "images", "--plots", "shots"], "shots"),
        (["predict", "net.keras", "images", "-o", "found.csv"], "found.csv"),
        (["plan", "net.keras", "-o", "plan.json"], "plan.json"),
        (["suggest", "net.keras", "images", "-o", "choice.json"], "choice.json"),
        (["export", "net.keras", "-o", "saved"], "saved"),
        (["import", "timm", "dict(layer_decay=0.75)", "net.keras", "-o", "plan.json"], "plan.json"),
        (["fine-tune", "net.keras", "images", "--report", "page.html"], "page.html"),
    ],
)
def test_every_output_is_one_runs(words, output, here):
    before = sorted(path.name for path in here.iterdir())
    with open(f"{output}.lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert f"Another run writes to {output}." in refused(*words)
    assert sorted(path.name for path in here.iterdir()) == sorted([*before, f"{output}.lock"])


def test_a_damaged_checkpoint_is_named(here, monkeypatch):
    """Truncated, gone, or another run's with the same shapes: nothing of it is loaded."""

    def interrupted(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    words = ["fine-tune", "net.keras", "images", *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "on_epoch_begin", interrupted)
        assert [difflr(*words).code, difflr(*words, "--seed", "1", "-o", "other.keras").code] == [130, 130]
    weights = here / "tuned.keras.checkpoint" / "epoch-1.weights.h5"
    others = (here / "other.keras.checkpoint" / "epoch-1.weights.h5").read_bytes()
    for content in (weights.read_bytes()[:1000], others):
        weights.write_bytes(content)
        assert f"{Path('tuned.keras.checkpoint', weights.name)} is damaged, or of another run. Restore it" in refused(
            *words, "--resume"
        )
    weights.unlink()
    assert f"{weights.name} is gone. Restore it, or remove" in refused(*words, "--resume")


def test_an_interrupt_when_a_checkpoint_is_written_keeps_it(here, monkeypatch):
    written = []

    def interrupted(path, content):
        write(path, content)
        written.append(path.name)
        if written.count("run.json") == 2:
            raise KeyboardInterrupt

    words = ["fine-tune", "net.keras", "images", *QUICK]
    write = checkpoint.write_whole
    succeeded(*words, "-o", "whole.keras")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_whole", interrupted)
        assert "Interrupted after 2 of 2 epochs" in difflr(*words).err
    succeeded(*words, "--resume")
    whole, tuned = (keras.saving.load_model(file).get_weights() for file in ("whole.keras", "tuned.keras"))
    for one, other in zip(whole, tuned, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_folder_that_goes_while_it_trains_is_named(here, monkeypatch):
    (here / "out").mkdir()

    def gone(self, epoch, logs=None):
        for file in (here / "out").iterdir():
            file.unlink()
        (here / "out").rmdir()

    monkeypatch.setattr("difflr_command.progress.ShowProgress.on_epoch_end", gone)
    result = difflr("fine-tune", "net.keras", "images", *QUICK, "-o", "out/tuned.keras")
    assert result.code == 1
    assert "No such file or directory" in result.err
    assert "out/tuned.keras.checkpoint" in result.err


def test_uneven_classes_count_the_same(here):
    (here / "uneven").mkdir()
    for name, number in (("blue", 6), ("green", 3), ("red", 3)):
        (here / "uneven" / name).mkdir()
        for at in range(number):
            (here / "uneven" / name / f"{at}.png").symlink_to(here / "images" / name / f"{at}.png")
    words = ["fine-tune", "net.keras", "uneven", *QUICK, "--validation-split", "0"]
    result = succeeded(*words)
    assert result["class_weights"] == {"0": pytest.approx(4 / 6), "1": pytest.approx(4 / 3), "2": pytest.approx(4 / 3)}
    assert any("uneven classes (blue 6, green 3)" in note for note in result["notes"])
    plain = succeeded(*words, "--no-class-weights", "-o", "plain.keras")
    assert plain["class_weights"] is None
    assert plain["history"]["loss"] != result["history"]["loss"]
    weights, note = choices.class_weights(Examples(np.zeros(13), np.array([0] * 12 + [1]), ("a", "b")))
    assert weights == {0: pytest.approx(6.5 / 12), 1: 6.5}


def test_images_change_while_training(here):
    result = succeeded("fine-tune", "net.keras", "images", *QUICK, "--report", "report.html")
    with Image.open("report.augmented.png") as sheet:
        assert sheet.size == (8 * 12 + 4, 4 * 12 + 4)  # with gaps
        firsts = [sheet.getpixel((8, 12 * row + 8)) for row in range(3)]
    assert [max(range(3), key=color.__getitem__) for color in firsts] == [2, 1, 0]  # blue, green, red: every class
    assert result["augmentation"] == ["flip", "rotate", "zoom", "light"]
    same = succeeded("fine-tune", "net.keras", "images", *QUICK, "--no-augment", "-o", "same.keras")
    assert same["augmentation"] == []
    assert same["history"]["loss"] != result["history"]["loss"]
    config = json.dumps(keras.saving.load_model("tuned.keras").get_config())
    assert "Random" not in config
    assert "Received: flop" in refused("fine-tune", "net.keras", "images", "--augment", "flip,flop")
    assert "leave out one" in refused("fine-tune", "net.keras", "images", "--augment", "flip", "--no-augment")


@pytest.mark.parametrize(
    ("names", "flips"),
    [(("cat", "dog"), True), (("0", "1"), False), (("turn left", "stop"), False), (("bright",), True)],
)
def test_letters_and_sides_are_not_mirrored(names, flips):
    changes, note = choices.changes_for(None, names)
    assert ("flip" in changes, "not mirrored" in note) == (flips, not flips)
    assert choices.changes_for("flip, zoom", names)[0] == ("flip", "zoom")


def test_epochs_by_the_steps_in_one():
    assert [choices.epochs_for(steps) for steps in (1, 13, 125, 500, 10_000)] == [20, 15, 5, 3, 3]


def test_gradients_are_accumulated(here):
    """Two batches of 9 make the one update that a batch of 18 makes: Adam's first steps go by the gradient's sign."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, name="stem"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3)]
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), *layers]).save("plain.keras")
    words = ["fine-tune", "plain.keras", "images", "--epochs", "2", "--freeze-epochs", "0", "--validation-split", "0"]
    words += ["--no-augment", "--recipe", "none"]
    succeeded(*words, "--batch-size", "18", "-o", "one.keras")
    succeeded(*words, "--batch-size", "9", "--accumulate", "2", "-o", "two.keras")
    before, one, two = (keras.saving.load_model(f"{name}.keras").get_weights() for name in ("plain", "one", "two"))
    for start, *ends in zip(before, one, two, strict=True):
        assert np.abs(ends[1] - start).min() > 0
        np.testing.assert_array_equal(*(np.sign(end - start) for end in ends))
    told = refused(*words, "--batch-size", "9", "--accumulate", "3", "-o", "three.keras")
    assert "--accumulate 3 is more than an epoch's 2 batches" in told


def test_bfloat16_trains_and_is_not_saved(here):
    succeeded("fine-tune", "net.keras", "images", *QUICK, "--precision", "bfloat16")
    tuned = keras.saving.load_model("tuned.keras")
    assert {layer.dtype_policy.name for layer in tuned.layers} == {"float32"}
    before = keras.saving.load_model("net.keras").get_weights()
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, tuned.get_weights(), strict=True))


def test_few_steps_leave_normalization_as_it_was(here):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, name="stem"), keras.layers.BatchNormalization(name="norm")]
    layers += [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3, activation="softmax", name="head")]
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), *layers])
    network.get_layer("norm").moving_mean.assign([0.1] * 4)
    network.save("normed.keras")
    before = network.get_layer("norm").get_weights()
    result = succeeded("fine-tune", "normed.keras", "images", *QUICK)
    assert any("BatchNormalization stays as it was pretrained: 8 steps" in note for note in result["notes"])
    for one, other in zip(before, keras.saving.load_model("tuned.keras").get_layer("norm").get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    succeeded("fine-tune", "normed.keras", "images", *QUICK, "--norm", "train", "-o", "trained.keras")
    after = keras.saving.load_model("trained.keras").get_layer("norm").get_weights()
    assert all(np.abs(one - other).max() > 0 for one, other in zip(before, after, strict=True))


def test_the_rate_is_chosen_by_the_model(here):
    result = succeeded("fine-tune", "net.keras", "images", "--epochs", "1")
    assert result["learning_rate"] == 0.03  # four features
    assert any("learning rate 0.03: 2 / 4 input features" in note for note in result["notes"])
