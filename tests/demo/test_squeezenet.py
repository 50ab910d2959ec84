"""SqueezeNet and its weights."""

import io
import os
import pickle

import keras
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
    return {
        layer.name.replace("_", "/", 1): [random.normal(0, 0.05, w.shape).astype("float32") for w in layer.weights]
        for layer in squeezenet.build((64, 64)).layers
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
    body = squeezenet.build((64, 64), weights)
    assert body.output_shape == (None, 3, 3, 512)
    assert body.count_params() == 722_496
    assert {type(layer).__module__.split(".")[0] for layer in body.layers} == {"keras"}  # its file loads anywhere


def test_loads_by_layer_name(weights):
    model = squeezenet.build((64, 64), weights)
    np.testing.assert_array_equal(model.get_layer("fire4_expand3x3").kernel, weights["fire4/expand3x3"][0])


def test_the_input_is_as_in_caffe(weights):
    """The weights are for blue, green and red, less ImageNet's mean color."""
    picture = np.random.default_rng(0).uniform(0, 255, (3, 3, 3)).astype("float32")
    model = squeezenet.build((64, 64), weights)
    found = model.get_layer("conv1")(model.get_layer("less_mean")(picture[None]))
    kernel, bias = weights["conv1"]
    expected = np.tensordot(picture[..., ::-1] - [104.006, 116.669, 122.679], kernel, 3) + bias
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found)[0, 0, 0], np.maximum(expected, 0), rtol=1e-4, atol=1e-3
    )


@pytest.mark.download
def test_the_real_weights():
    assert squeezenet.build((227, 227), squeezenet.read_weights()).count_params() == 722_496
