"""`difflr suggest`, and `difflr fine-tune --learning-rate auto`."""

import json

import keras
import numpy as np
import pytest

import difflr as library
from cli.commands import difflr, network, refused, succeeded

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """`net.keras`, and 48 images of three colors in `few.npz`."""
    monkeypatch.chdir(tmp_path)
    network().save("net.keras")
    y = np.arange(48) % 3
    x = np.random.default_rng(0).normal(np.eye(3)[y][:, None, None] * 150 + 50, 20, (48, 8, 8, 3))
    np.savez("few.npz", x=np.clip(x, 0, 255).astype("float32"), y=y)
    return tmp_path


WORDS = ["net.keras", "few.npz", "--epochs", "2", "--batch-size", "8"]


@pytest.mark.same_everywhere
def test_it_measures_and_writes_the_choice(arrays):
    before = (arrays / "net.keras").read_bytes()
    result = difflr("suggest", *WORDS, "--budget", "4", "-o", "choice.json")
    assert result.code == 0, result
    assert "trial 1 of " in result.err
    assert "why: " in result.out
    choice = library.Choice.load("choice.json", keras.saving.load_model("net.keras"))
    assert len(choice.trials) >= 2
    assert choice.cost.runs <= 4
    assert (arrays / "net.keras").read_bytes() == before
    again = succeeded("suggest", *WORDS, "--budget", "4")
    assert again["learning_rate"] == choice.learning_rate
    assert again["trials"] == json.loads((arrays / "choice.json").read_text())["trials"]
    assert sorted(path.name for path in arrays.iterdir()) == ["choice.json", "few.npz", "net.keras"]


@pytest.mark.same_everywhere
def test_fine_tune_measures_first(arrays, monkeypatch):
    monkeypatch.setattr(library.choosing.layout, "FEW_STEPS", 60)
    result = succeeded("fine-tune", *WORDS, "--learning-rate", "auto")
    assert any(", measured: " in note for note in result["notes"])
    assert result["freeze_epochs"] + result["epochs"] == 3
    assert sorted(path.name for path in arrays.iterdir()) == ["few.npz", "net.keras", "tuned.keras"]


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fine-tune", *WORDS, "--learning-rate", "fast"], "--learning-rate must be above 0, or auto. Received: fast."),
        (["fine-tune", *WORDS, "--learning-rate", "-1"], "--learning-rate must be above 0"),
        (["suggest", *WORDS, "--budget", "0"], "--budget is a share of the run, above 0"),
        (["suggest", *WORDS, "-o", "nowhere/choice.json"], "there is no folder"),
    ],
)
def test_what_is_refused(arrays, words, message):
    assert message in refused(*words)
