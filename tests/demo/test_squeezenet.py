"""SqueezeNet and its weights."""

import io
import os
import pickle

import numpy as np
import pytest

from difflr.demo import squeezenet

pytestmark = pytest.mark.usefixtures("quick_compilation")


def loads(content):
    return squeezenet.ArraysOnly(io.BytesIO(pickle.dumps(content)), encoding="latin1").load()


class Forged:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.fixture(scope="module")
def weights():
    """Small random arrays for every convolution, as `read_weights` returns them."""
    random = np.random.default_rng(0)
    model = squeezenet.build((64, 64, 3), include_top=True)
    return {
        layer.name.replace("_", "/", 1): [random.normal(0, 0.05, w.shape).astype("float32") for w in layer.weights]
        for layer in model.layers
        if layer.weights
    }


def test_unpickles_arrays():
    content = loads({"conv1": [np.arange(6.0).reshape(2, 3), np.ones(3, "float32")]})
    np.testing.assert_array_equal(content["conv1"][0], np.arange(6.0).reshape(2, 3))


@pytest.mark.parametrize("content", [Forged(), len, {"conv1": Forged()}, io.BytesIO])
def test_unpickles_nothing_else(content):
    with pytest.raises(pickle.UnpicklingError, match="only numpy arrays"):
        loads(content)


def test_shapes(weights):
    body = squeezenet.load_imagenet(squeezenet.build((64, 64, 3)), weights)
    assert body.output_shape == (None, 3, 3, 512)
    assert body.count_params() == 722_496
    whole = squeezenet.load_imagenet(squeezenet.build((64, 64, 3), include_top=True), weights)
    assert whole.output_shape == (None, 1000)
    assert whole.count_params() == 1_235_496


def test_the_input_is_as_in_caffe():
    pictures = np.array([[[[122.679, 116.669, 104.006]]], [[[255, 0, 0]]]], "float32")
    np.testing.assert_allclose(squeezenet.CaffeInput()(pictures)[0], 0, atol=1e-4)
    np.testing.assert_allclose(squeezenet.CaffeInput()(pictures)[1, 0, 0, 2], 255 - 122.679, rtol=1e-5)


def test_loads_by_layer_name(weights):
    model = squeezenet.load_imagenet(squeezenet.build((64, 64, 3)), weights)
    np.testing.assert_array_equal(model.get_layer("fire4_expand3x3").kernel, weights["fire4/expand3x3"][0])


def test_missing_weights_are_named(weights):
    some = {name: arrays for name, arrays in weights.items() if name != "fire5/squeeze1x1"}
    with pytest.raises(ValueError, match=r"'fire5_squeeze1x1'. Expected the key 'fire5/squeeze1x1' among: conv1"):
        squeezenet.load_imagenet(squeezenet.build((64, 64, 3)), some)


@pytest.mark.download
def test_the_real_weights():
    model = squeezenet.load_imagenet(squeezenet.build((227, 227, 3), include_top=True))
    assert model.count_params() == 1_235_496
