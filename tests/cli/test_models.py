"""Networks by name: the list, what is known of each, and what is said where they cannot be fetched."""

import keras
import numpy as np
import pytest

import difflr as library
from cli.commands import difflr, refused, succeeded
from difflr.demo import squeezenet
from difflr_command import hub, known_models
from difflr_command.models import load

pytestmark = pytest.mark.same_everywhere


def no_network(include_top, weights, input_shape):
    raise Exception("URL fetch failure on https://store.org/nets/vgg16_notop.h5: None -- Name or service not known")


@pytest.fixture
def without_network(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(keras.applications, "VGG16", no_network)


def test_the_list(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    network = next(entry for entry in known_models.KNOWN if entry.name == "densenet121")
    (tmp_path / "models" / network.weights).write_bytes(b"")
    result = difflr("models")
    assert result.code == 0
    lines = {line.split()[0]: line.split() for line in result.out.splitlines() if line.strip()}
    assert lines["densenet121"][1:] == ["7.0", "M", "224", "x", "224", "imagenet", "here"]
    assert lines["efficientnetv2-b0"][1:] == ["5.9", "M", "224", "x", "224", "itself"]
    assert "vgg16" not in difflr("models", "dense").out
    assert "No network's name contains 'densse'" in refused("models", "densse")


def test_every_network_of_keras_is_in_the_list():
    there = {
        name
        for name in dir(keras.applications)
        if callable(function := getattr(keras.applications, name)) and name[0].isupper() and function
    }
    assert {entry.function for entry in known_models.KNOWN} - {""} == there


def test_a_name_in_any_spelling():
    for name in ("EfficientNetV2B0", "efficientnet_v2_b0", "efficientnetv2-b0"):
        assert known_models.known(known_models.Path(name)).function == "EfficientNetV2B0"


@pytest.mark.parametrize("entry", [entry for entry in known_models.KNOWN if entry.function], ids=lambda each: each.name)
def test_the_scale_is_what_keras_says(entry):
    """Each module of keras.applications has its own `preprocess_input`; those that do nothing scale in the network."""
    import importlib
    import inspect

    module = importlib.import_module(inspect.unwrap(getattr(keras.applications, entry.function)).__module__)
    images = np.random.default_rng(0).integers(0, 255, (2, 3, 3, 3)).astype("uint8")
    expected = module.preprocess_input(images.astype("float32"))
    np.testing.assert_allclose(library.data.to_scale(images, entry.scale), expected, rtol=1e-5)


def test_a_network_by_its_name_takes_images_as_they_are(here, monkeypatch):
    """The scale of a name is a layer of the saved model."""
    built = []

    def build(include_top, weights, input_shape):
        built.append((include_top, weights, input_shape))
        keras.utils.set_random_seed(0)
        inputs = keras.Input(input_shape)
        return keras.Model(inputs, keras.layers.Conv2D(4, 3, name="stem", activation="relu")(inputs), name="vgg16")

    monkeypatch.setattr(keras.applications, "VGG16", build)
    quick = ["--size", "9x8", "--epochs", "1", "--batch-size", "8"]
    result = succeeded("fine-tune", "vgg16", "images", *quick)
    assert built[0] == (False, "imagenet", (9, 8, 3))
    assert result["model"] == "vgg16"
    assert "new head 'head': 4 features -> 3 classes" in result["notes"]
    tuned = keras.saving.load_model("tuned.keras")
    image = np.random.default_rng(0).integers(0, 255, (1, 9, 8, 3)).astype("uint8")
    stem = keras.Model(tuned.inputs, tuned.get_layer("stem").output).predict(image.astype("float32"), verbose=0)
    scaled = keras.ops.convert_to_numpy(tuned.get_layer("stem")(library.data.to_scale(image, "caffe")))
    np.testing.assert_allclose(stem, scaled, rtol=1e-4, atol=1e-3)
    assert "leave out --scale" in refused("fine-tune", "vgg16", "images", "--scale", "0..1", "-o", "other.keras")
    assert "stem" in difflr("plan", "vgg16", "--new-head", "--classes", "3").out


def test_squeezenet_by_its_name(here, monkeypatch):
    random = np.random.default_rng(0)
    monkeypatch.setattr(squeezenet, "FIRES", {2: (2, 4), 9: (2, 4)})
    weights = {
        layer.name.replace("_", "/", 1): [random.normal(0, 0.1, w.shape).astype("float32") for w in layer.weights]
        for layer in squeezenet.build((32, 32)).layers
        if layer.weights
    }
    monkeypatch.setattr(squeezenet, "read_weights", lambda: weights)
    model = load(known_models.Path("squeezenet"), size=(32, 40))
    assert model.input_shape == (None, 32, 40, 3)
    assert library.data.has_own_scale(model)
    np.testing.assert_array_equal(model.get_layer("fire2_squeeze1x1").get_weights()[0], weights["fire2/squeeze1x1"][0])


def test_without_a_network_the_file_is_named(here, without_network):
    told = refused("fine-tune", "vgg16", "images")
    assert "cannot be fetched (Name or service not known)" in told
    assert f"download https://store.org/nets/vgg16_notop.h5 and put it here as {here / 'home' / 'models'}" in told
    assert known_models.known(known_models.Path("vgg16")).weights in told
    assert not (here / "tuned.keras").exists()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            "vgg166",
            "no model file vgg166, and no network of that name: `difflr models` lists them. Did you mean 'vgg16'",
        ),
        ("nets/vgg16.h5", "no model file nets/vgg16.h5"),
        ("images", "Received: the folder images"),
    ],
)
def test_names_that_are_none(model, told, here):
    for words in (["fine-tune", model, "images"], ["summary", model], ["plan", model]):
        assert told in refused(*words)


def test_a_preset_of_keras_hub(here):
    keras_hub = pytest.importorskip("keras_hub")
    backbone = keras_hub.models.ViTBackbone((16, 16, 3), 8, 1, 1, 4, 8)
    backbone.save_to_preset("preset")
    converter = keras_hub.layers.ViTImageConverter(image_size=(16, 16), scale=1 / 127.5, offset=-1.0)
    converter.save_to_preset("preset")
    model = load(known_models.Path("preset"))
    assert model.input_shape == (None, 16, 16, 3)
    assert library.data.has_own_scale(model)
    image = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 3)).astype("float32")
    expected = backbone.predict(image / 127.5 - 1, verbose=0)
    np.testing.assert_allclose(model.predict(image, verbose=0), expected, rtol=1e-4, atol=1e-5)
    assert library.new_head(model, 3).output_shape == (None, 3)


def test_a_preset_that_cannot_be_fetched(monkeypatch):
    class Hub:
        class models:
            class Backbone:
                presets = {"vit_tiny": {"kaggle_handle": "kaggle://keras/vit/keras/vit_tiny/1"}}

                @staticmethod
                def from_preset(preset):
                    raise ConnectionError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr(hub, "_keras_hub", lambda: Hub)
    told = refused("summary", "vit_tiny")
    assert "cannot be fetched: Failed to resolve 'api.kaggle.com'" in told
    assert "keras/vit/keras/vit_tiny/1 on kaggle.com" in told
    assert "no preset 'vit_tinny'" in refused("summary", "vit_tinny")
