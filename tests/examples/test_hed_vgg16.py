"""The second acceptance example: HED's published multipliers, as a plan and in a real step."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest

import difflr

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "hed_vgg16.py"


@pytest.fixture(scope="module")
def hed(quick_compilation):
    spec = importlib.util.spec_from_file_location("hed_vgg16", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(hed):
    keras.utils.set_random_seed(0)
    return hed.build(32)


@pytest.mark.same_everywhere
def test_the_table_is_the_published_one(hed, model):
    rows = {row.path: row for row in hed.published_plan(model).rows}
    assert len(rows) == 2 * len(hed.PUBLISHED)
    for layer, (kernel, bias, kernel_decay, bias_decay) in hed.PUBLISHED.items():
        for name, rate, decay in (("kernel", kernel, kernel_decay), ("bias", bias, bias_decay)):
            row = rows[f"{layer}/{name}"]
            assert row.multiplier == pytest.approx(rate), row.path
            assert row.frozen == (rate == 0), row.path
            assert row.weight_decay_multiplier == decay, row.path


@pytest.mark.same_everywhere
def test_one_real_step_moves_every_weight_as_published(hed, model, eager_steps):
    rng = np.random.default_rng(0)
    image = rng.normal(scale=50, size=(1, 32, 32, 3)).astype("float32")
    edges = (rng.random((1, 32, 32, 1)) < 0.1).astype("float32")
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.weights]
    losses = [keras.losses.BinaryCrossentropy(from_logits=True)] * 6

    model.compile(keras.optimizers.SGD(1.0), loss=losses)
    model.train_on_batch(image, [edges] * 6)
    gradients = [old - keras.ops.convert_to_numpy(weight) for old, weight in zip(before, model.weights, strict=True)]
    model.set_weights(before)

    rate, decay = 1e-2, 0.1  # large, so that every published multiplier shows in float32
    plan = hed.published_plan(model)
    model.compile(difflr.optimizers.SGD(rate, momentum=0.9, weight_decay=decay, multipliers=plan), loss=losses)
    model.train_on_batch(image, [edges] * 6)

    for weight, old, gradient in zip(model.weights, before, gradients, strict=True):
        path = plan.row(weight).path
        layer, name = path.split("/")
        kernel, bias, kernel_decay, bias_decay = hed.PUBLISHED[layer]
        multiplier, decays = (kernel, kernel_decay) if name == "kernel" else (bias, bias_decay)
        moved = keras.ops.convert_to_numpy(weight).astype("float64") - old
        expected = -rate * multiplier * (gradient + decay * decays * old)
        resolution = 4e-7 * (np.abs(old).max() + np.abs(expected).max())  # of float32, at the size of the weights
        gradient_noise = rate * multiplier * 1e-6 * (np.abs(old).max() + np.abs(gradient).max())
        np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=resolution + gradient_noise, err_msg=path)
        assert multiplier == 0 or np.abs(moved).max() > 0, path
