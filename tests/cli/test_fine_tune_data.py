"""`difflr fine-tune` on data of every form: tables of images, several labels, amounts, ready parts, streamed files."""

import keras
import numpy as np
import pytest
from PIL import Image

import difflr as library
from cli.commands import difflr, refused, succeeded
from cli.conftest import COLORS
from difflr_command import progress

pytestmark = pytest.mark.usefixtures("quick_compilation")

QUICK = ["--epochs", "2", "--freeze-epochs", "0", "--batch-size", "4", "--learning-rate", "0.05"]


def weights(file):
    return keras.saving.load_model(file).get_weights()


@pytest.fixture
def streamed(monkeypatch):
    """No image is held in memory."""
    monkeypatch.setattr(
        library.data.open_folder, "__kwdefaults__", {**library.data.open_folder.__kwdefaults__, "most_held": 0}
    )


@pytest.mark.same_everywhere
def test_several_labels_a_image(here):
    lines = ["file,label"]
    for name in COLORS:
        lines += [f"images/{name}/{number}.png,{name}|{'even' if number % 2 else 'odd'}" for number in range(6)]
    (here / "table.csv").write_text("\n".join(lines))
    result = succeeded("fine-tune", "bare.keras", "table.csv", "--new-head", "--targets", "several", *QUICK)
    assert result["task"] == "labels"
    assert result["classes"] == ["blue", "even", "green", "odd", "red"]
    assert result["counts"]["even"] == [result["counts"]["even"][0], 9 - result["counts"]["even"][0]]
    assert "val_f1" in result["history"]
    model = keras.saving.load_model("tuned.keras")
    assert model.get_layer("head").activation is keras.activations.sigmoid
    info = library.models.ModelInfo(tuple(result["classes"]), "labels", "images", (8, 8), 3)
    assert library.models.read_info("tuned.keras") == info
    told = refused("fine-tune", "net.keras", "table.csv", "--targets", "several")
    assert "several of 5 labels" in told
    assert "--new-head" in told


@pytest.mark.same_everywhere
def test_amounts_of_images_are_predicted_in_their_own_unit(here):
    """A price is far from where a new head begins."""
    lines = ["file,price"]
    for price, name in enumerate(COLORS):
        lines += [f"images/{name}/{number}.png,{1e6 + 1000.5 * price}" for number in range(6)]
    (here / "prices.csv").write_text("\n".join(lines))
    words = ["fine-tune", "bare.keras", "prices.csv", "--label-column", "price", "--new-head", *QUICK]
    result = succeeded(*words)
    assert (result["task"], result["classes"]) == ("numbers", [])
    assert any("has fractions: numbers to predict" in note for note in result["notes"])
    predicted = keras.saving.load_model("tuned.keras").predict(np.zeros((1, 8, 8, 3)), verbose=0)
    assert 0.99e6 < predicted[0, 0] < 1.01e6
    assert result["history"]["val_mae"][-1] < 5000
    assert library.models.read_info("tuned.keras").class_names == ("price",)


@pytest.mark.same_everywhere
def test_validation_examples_that_are_trained_on_too(here):
    remark = "{} validation examples are trained on, too: the accuracy is too high"
    words = ["fine-tune", "net.keras", "images", *QUICK, "-o"]
    assert not [note for note in succeeded(*words, "a.keras")["notes"] if "trained on, too" in note]
    assert remark.format("18 of 18") in succeeded(*words, "b.keras", "--validation", "images")["notes"]
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="softmax")]).save("two.keras")
    np.savez("data.npz", x=[[1, 2], [1, 2], [3, 4], [3, 4]], y=[[1, 0], [1, 0], [0, 1], [0, 1]], weight=np.ones(4))
    notes = succeeded("fine-tune", "two.keras", "data.npz", *QUICK, "-o", "c.keras", "--validation-split", "0.5")[
        "notes"
    ]
    for note in (remark.format("2 of 2"), "left out, other arrays: weight", "y is one-hot: one label per example"):
        assert note in notes


@pytest.mark.same_everywhere
def test_ready_parts_of_a_folder(here):
    for part, numbers in (("train", range(4)), ("val", range(4, 5)), ("test", range(5, 6))):
        for name in COLORS:
            (here / "parts" / part / name).mkdir(parents=True)
            for number in numbers:
                (here / "parts" / part / name / f"{number}.png").symlink_to(here / "images" / name / f"{number}.png")
    result = succeeded("fine-tune", "net.keras", "parts", *QUICK)
    assert (result["num_train"], result["num_validation"]) == (12, 3)
    assert "train/ is trained on; not touched: test/" in result["notes"]
    assert "holds the parts" not in difflr("fine-tune", "net.keras", "parts/train", *QUICK, "-o", "b.keras").err


@pytest.mark.same_everywhere
def test_images_from_their_files_train_as_those_in_memory_and_go_on_after_an_interrupt(here, monkeypatch, request):
    held = succeeded("fine-tune", "net.keras", "images", *QUICK, "-o", "held.keras")
    request.getfixturevalue("streamed")

    def interrupted(self, batch, logs=None):
        if self.epoch == 1 and batch == 1:
            raise KeyboardInterrupt

    words = ["fine-tune", "net.keras", "images", *QUICK]
    with monkeypatch.context() as patched:
        patched.setattr(progress.ShowProgress, "on_train_batch_end", interrupted)
        assert difflr(*words).code == 130
    resumed = succeeded(*words, "--resume")
    assert resumed["history"] == held["history"]
    for one, other in zip(weights("held.keras"), weights("tuned.keras"), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.same_everywhere
def test_what_changed_since_an_interrupt_is_named(here, monkeypatch):
    (here / "own").mkdir()
    for name in COLORS:
        (here / "own" / name).mkdir()
        for number in range(4):
            content = (here / "images" / name / f"{number}.png").read_bytes()
            (here / "own" / name / f"{number}.png").write_bytes(content)

    def interrupted(self, batch, logs=None):
        if self.epoch == 1:
            raise KeyboardInterrupt

    words = ["fine-tune", "net.keras", "own", *QUICK]
    with monkeypatch.context() as patched:
        patched.setattr(progress.ShowProgress, "on_train_batch_end", interrupted)
        assert difflr(*words).code == 130
    Image.new("RGB", (9, 9)).save("own/red/1.png")
    (here / "own" / "blue" / "2.png").unlink()
    Image.new("RGB", (9, 9)).save("own/green/9.png")
    told = refused(*words, "--resume")
    assert "1 file changed (own/red/1.png), 1 file gone (own/blue/2.png), 1 file new (own/green/9.png)" in told


@pytest.mark.same_everywhere
def test_a_image_that_goes_while_it_trains_is_named(here, monkeypatch, streamed):
    (here / "own").mkdir()
    for name in COLORS:
        (here / "own" / name).mkdir()
        for number in range(4):
            content = (here / "images" / name / f"{number}.png").read_bytes()
            (here / "own" / name / f"{number}.png").write_bytes(content)

    def gone(self, epoch, logs=None):
        for file in (here / "own" / "red").iterdir():
            file.unlink()

    monkeypatch.setattr(progress.ShowProgress, "on_epoch_begin", gone)
    result = difflr("fine-tune", "net.keras", "own", *QUICK)
    assert result.code != 0
    assert "png was there at the start, and cannot be read now" in result.err
