"""The example of fine-tuning in one call runs, and fine-tuning pays there."""

import importlib.util
import pathlib

import keras
import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "fine_tune.py"


@pytest.mark.same_everywhere
def test_everything_live_beats_the_head_alone(capsys):
    spec = importlib.util.spec_from_file_location("fine_tune_example", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    keras.utils.clear_session()
    history = example.main()
    assert history.epoch == list(range(11))
    accuracies = history.history["val_accuracy"]
    assert accuracies[-1] > accuracies[0] + 0.1
    printed = capsys.readouterr().out
    assert "head" in printed
    assert "Validation accuracy" in printed
