"""A model that scales its images itself."""

import keras
import numpy as np
import pytest

import difflr
from difflr.models import with_scale


def network(channels=3):
    layers = [keras.layers.Conv2D(4, 3, name="stem"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((6, 6, channels)), *layers], name="network")


@pytest.mark.same_everywhere(but=["imagenet"])
@pytest.mark.parametrize("scale", difflr.data.SCALES)
def test_it_takes_images_as_they_are(scale, tmp_path):
    model = network()
    whole = with_scale(model, scale)
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 6, 3)).astype("float32")
    expected = model.predict(difflr.data.to_scale(images, scale), verbose=0)
    whole.save(tmp_path / "whole.keras")
    loaded = keras.saving.load_model(tmp_path / "whole.keras")
    np.testing.assert_allclose(loaded.predict(images, verbose=0), expected, rtol=1e-3, atol=1e-3)
    assert difflr.data.has_own_scale(loaded) == (scale != "0..255")
    assert [row.path for row in difflr.Plan(whole).rows] == [row.path for row in difflr.Plan(model).rows]


@pytest.mark.same_everywhere
def test_scales_that_do_not_fit():
    with pytest.raises(ValueError, match=r"must be .0\.\.255"):
        with_scale(network(), "bytes")
    with pytest.raises(ValueError, match="for RGB images. Received: a model with 1 channels"):
        with_scale(network(1), "caffe")
