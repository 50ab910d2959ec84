"""`difflr export`: what comes out predicts the same, and what Keras cannot do here is told with the way out."""

import dataclasses
import importlib.util
import json
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from cli.colors import NAMES, color_network
from cli.commands import difflr, refused, succeeded
from difflr.models import ModelInfo, write_info
from difflr_command import exporting

pytestmark = pytest.mark.usefixtures("quick_compilation")

BACKEND = keras.backend.backend()


@pytest.fixture
def network(here):
    return color_network(here / "colors.keras")


def images():
    return np.random.default_rng(0).uniform(0, 255, (1, 8, 8, 3)).astype("float32")


@pytest.mark.skipif(BACKEND == "torch", reason="needs torch_xla")
def test_saved_model(network, here):
    tensorflow = pytest.importorskip("tensorflow")
    result = succeeded("export", "colors.keras", "-o", "served")
    assert result["format"] == "saved-model"
    assert result["largest_difference"] < 1e-5
    expected = keras.saving.load_model("colors.keras").predict(images(), verbose=0)
    served = tensorflow.saved_model.load("served")
    found = served.serve(images())
    np.testing.assert_allclose(found, expected, atol=1e-5)
    about = json.loads((here / "served.json").read_text())
    assert about["classes"] == list(NAMES)
    assert (about["size"], about["scale"], about["layout"]) == ([8, 8], "0..255", "height, width, channels")
    assert "served is there already" in refused("export", "colors.keras", "-o", "served")


@pytest.mark.skipif(BACKEND != "torch", reason="torch's own format")
def test_torch(network):
    import torch

    result = difflr("export", "colors.keras", "-o", "colors.pt2")
    assert result.code == 0, result
    assert "Written: colors.pt2, colors.pt2.json. The JSON file has the classes" in result.out
    expected = keras.saving.load_model("colors.keras").predict(images(), verbose=0)
    found = torch.export.load("colors.pt2").module()(torch.from_numpy(images()))
    np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5)


@pytest.mark.same_everywhere
def test_a_full_disk_is_found_before_the_export(network, here, monkeypatch):
    monkeypatch.setattr(exporting.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=0))
    assert "has 0 bytes left, and the weights alone need" in refused("export", "colors.keras", "-o", "colors.pt2")
    assert not [file.name for file in here.iterdir() if "pt2" in file.name]


@pytest.mark.skipif(BACKEND != "tensorflow", reason="TensorFlow's own converter")
def test_litert(network):
    result = succeeded("export", "colors.keras", "-o", "colors.tflite")
    assert result["format"] == "litert"
    assert result["largest_difference"] < 1e-5


@pytest.mark.skipif(BACKEND != "torch", reason="one backend is enough")
def test_onnx_is_kerass_own_with_stubs_for_its_packages(network, here, monkeypatch):
    called = []

    def export(self, filepath, format, verbose):
        assert self._called  # Keras exports no ONNX of a model that was only loaded
        called.append((format, self.input_shape, self.count_params()))
        Path(filepath).write_bytes(b"onnx")
        Path(f"{filepath}.data").write_bytes(b"weights")

    monkeypatch.setattr(exporting, "_missing", lambda packages: [])
    monkeypatch.setattr(keras.Model, "export", export)
    result = succeeded("export", "colors.keras", "-o", "colors.onnx")
    assert called == [("onnx", (None, 8, 8, 3), 12)]
    assert (here / "colors.onnx").read_bytes() == b"onnx"
    assert (here / "colors.onnx.data").read_bytes() == b"weights"  # as the .bin of OpenVINO
    assert result["written"] == ["colors.onnx", "colors.onnx.data", "colors.onnx.json"]
    assert result["largest_difference"] is None  # no onnxruntime here


@pytest.mark.same_everywhere
def test_a_failed_export_leaves_nothing(network, here, monkeypatch):
    def export(self, filepath, format, verbose):
        Path(filepath).write_bytes(b"half")
        raise RuntimeError("no such operation")

    monkeypatch.setattr(keras.Model, "export", export)
    before = sorted(here.iterdir())
    monkeypatch.setattr(exporting, "check_can_export", lambda form: None)
    message = refused("export", "colors.keras", "-o", "colors.pt2")
    assert f"Keras cannot export this model to torch on {BACKEND}: RuntimeError: 'no such operation'." in message
    assert sorted(here.iterdir()) == before


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("off", "told"), [(0.5, "predicts something else: by up to 0.5"), (None, "cannot run what Keras")]
)
def test_an_export_that_predicts_otherwise_is_refused(off, told, network, here, monkeypatch):
    def run(file):
        model = keras.saving.load_model("colors.keras")
        return lambda inputs: model.predict(inputs, verbose=0) + off

    form = dataclasses.replace(exporting.FORMS["torch"], runtime="keras", run=run)
    monkeypatch.setitem(exporting.FORMS, "torch", form)
    monkeypatch.setattr(exporting, "check_can_export", lambda form: None)
    monkeypatch.setattr(keras.Model, "export", lambda self, filepath, **how: Path(filepath).write_bytes(b"torch"))
    before = sorted(here.iterdir())
    assert told in refused("export", "colors.keras", "-o", "colors.pt2")
    assert sorted(here.iterdir()) == before


def test_a_text_model(here):
    pytest.importorskip("tensorflow", reason="TextVectorization needs it on every backend")
    words = keras.layers.TextVectorization(output_sequence_length=3, vocabulary=["good", "bad", "film"])
    text = keras.Input((), dtype="string")
    x = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(words(text)))
    keras.Model(text, keras.layers.Dense(2, activation="softmax")(x)).save("words.keras")
    write_info("words.keras", ModelInfo(("bad", "good"), "classes", "texts"))
    file = "words.pt2" if BACKEND == "torch" else "words"
    result = succeeded("export", "words.keras", "-o", file)
    assert result["largest_difference"] < 1e-5
    about = json.loads((here / f"{file}.json").read_text())
    if BACKEND == "tensorflow":  # which takes the texts themselves
        assert "vectorization" not in about
    else:
        assert about["vectorization"]["vocabulary"] == ["", "[UNK]", "good", "bad", "film"]
        assert about["vectorization"]["output_sequence_length"] == 3


@pytest.mark.same_everywhere
def test_what_keras_cannot_is_told_with_the_way_out(network, monkeypatch):
    installed = {"torch", "tensorflow"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: types.SimpleNamespace() if name in installed else None
    )
    for backend, form, told in [
        ("jax", "litert", "Keras exports no litert on jax, only on tensorflow and torch."),
        ("tensorflow", "torch", "Keras exports no torch on tensorflow, only on torch."),
        (
            "torch",
            "onnx",
            'needs onnx and onnxscript to export onnx on torch: pip install onnx onnxscript (or "difflr[onnx]")',
        ),
        ("torch", "saved-model", "Or take --backend tensorflow or --backend jax, which can here"),
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
