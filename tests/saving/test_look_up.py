"""Multipliers are looked up by path right after loading, before the optimizer has met the model."""

import keras
import pytest

from difflr import Plan, optimizers


def test_multipliers_by_path_after_loading(tmp_path):
    layers = [keras.layers.Dense(3, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizers.SGD(0.1, multipliers=Plan(model, {"body": 0.1})), loss="mse")
    model.save(tmp_path / "model.keras")
    multipliers = keras.models.load_model(tmp_path / "model.keras").optimizer.multipliers
    assert multipliers["body"] == pytest.approx(0.1)
    assert multipliers["body/kernel"] == pytest.approx(0.1)
    assert multipliers["head"] == 1.0
