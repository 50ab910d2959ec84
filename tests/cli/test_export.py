"""`difflr export`: what comes out predicts the same, and what Keras cannot do here is told with the way out."""

import importlib.util
import json
import types

import keras
import numpy as np
import pytest

from cli.colors import NAMES, color_network
from cli.commands import difflr, refused, succeeded
from difflr_command import exporting

pytestmark = pytest.mark.usefixtures("quick_compilation")

BACKEND = keras.backend.backend()


@pytest.fixture
def network(here):
    return color_network(here / "colors.keras")


def pictures():
    return np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")


@pytest.mark.skipif(BACKEND == "torch", reason="needs torch_xla")
def test_saved_model(network, here):
    tensorflow = pytest.importorskip("tensorflow")
    result = succeeded("export", "colors.keras", "-o", "served")
    assert result["format"] == "saved-model"
    assert result["largest_difference"] < 1e-5
    expected = keras.saving.load_model("colors.keras").predict(pictures(), verbose=0)
    served = tensorflow.saved_model.load("served")
    found = served.serve(pictures())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    about = json.loads((here / "served.json").read_text())
    assert about["classes"] == list(NAMES)
    assert "served is there already" in refused("export", "colors.keras", "-o", "served")


@pytest.mark.skipif(BACKEND != "torch", reason="torch's own format")
def test_torch(network):
    import torch

    result = difflr("export", "colors.keras", "-o", "colors.pt2")
    assert result.code == 0, result
    assert "Written: colors.pt2 and colors.pt2.json" in result.out
    expected = keras.saving.load_model("colors.keras").predict(pictures(), verbose=0)
    found = torch.export.load("colors.pt2").module()(torch.from_numpy(pictures()))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own converter")
def test_litert(network):
    result = succeeded("export", "colors.keras", "-o", "colors.tflite")
    assert result["format"] == "litert"
    assert result["largest_difference"] < 1e-5


@pytest.mark.skipif(BACKEND != "torch", reason="one backend is enough")
def test_onnx_is_kerass_own_with_stubs_for_its_packages(network, here, monkeypatch):
    called = []

    def export(self, path, format, verbose):
        called.append((format, self.count_params()))
        with open(path, "wb") as file:
            file.write(b"onnx")

    monkeypatch.setattr(exporting, "_missing", lambda packages: [])
    monkeypatch.setattr(keras.Model, "export", export)
    result = succeeded("export", "colors.keras", "-o", "colors.onnx")
    assert called == [("onnx", 12)]
    assert (here / "colors.onnx").read_bytes() == b"onnx"
    assert result["largest_difference"] is None  # no onnxruntime here


@pytest.mark.same_everywhere
def test_a_failed_export_leaves_nothing(network, here, monkeypatch):
    def export(self, path, format, verbose):
        with open(path, "wb") as file:
            file.write(b"half")
        raise RuntimeError("no such operation")

    monkeypatch.setattr(keras.Model, "export", export)
    before = sorted(here.iterdir())
    result = difflr("export", "colors.keras", "-o", "colors.pt2")
    assert result.code == 1
    assert result.err.strip() == "difflr: error: RuntimeError: no such operation"
    assert sorted(here.iterdir()) == before


@pytest.mark.same_everywhere
def test_what_keras_cannot_is_told_with_the_way_out(network, monkeypatch):
    installed = {"torch", "tensorflow"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: types.SimpleNamespace() if name in installed else None
    )
    for backend, form, told in [
        ("jax", "litert", "Keras exports no litert on jax. Take --backend tensorflow."),
        ("tensorflow", "torch", "Keras exports no torch on tensorflow. Take --backend torch."),
        (
            "torch",
            "onnx",
            'needs onnx and onnxscript to export onnx on torch: pip install onnx onnxscript (or "difflr[onnx]")',
        ),
        ("torch", "saved-model", "or take --backend tensorflow or --backend jax, which can here"),
        ("jax", "onnx", "Keras needs jax2onnx to export onnx on jax: pip install jax2onnx."),
    ]:
        monkeypatch.setattr(keras.backend, "backend", lambda backend=backend: backend)
        with pytest.raises(ValueError, match=".") as caught:
            exporting.check_can_export(form)
        assert told in str(caught.value)


@pytest.mark.same_everywhere
def test_wrong_names_are_told(network):
    assert "A file for onnx ends with .onnx" in refused("export", "colors.keras", "-o", "x.tflite", "--format", "onnx")
    assert "no folder" in refused("export", "colors.keras", "-o", "gone/x.pt2")
    assert "no model file gone.keras" in refused("export", "gone.keras", "-o", "x.pt2")


def test_a_mistyped_ending_is_no_saved_model(network):
    assert "No format ends with .onx. Expected one of: .onnx" in refused("export", "colors.keras", "-o", "colors.onx")
