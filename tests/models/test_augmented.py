"""Images that change at random while a model trains."""

import keras
import numpy as np
import pytest

import difflr
from difflr.models import augmentation_sheet, augmented
from difflr.models.augmented import CHANGES


@pytest.fixture
def network():
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(4, 3, name="stem"), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), *layers])


@pytest.fixture
def images():
    return np.random.default_rng(0).uniform(50, 200, (4, 8, 8, 3)).astype("float32")


@pytest.mark.same_everywhere(but=["rotate"])
@pytest.mark.parametrize("change", CHANGES)
def test_images_change_while_it_trains_and_not_when_it_predicts(change, network, images):
    model = augmented(network, [change])
    np.testing.assert_allclose(model.predict(images, verbose=0), network.predict(images, verbose=0), rtol=1e-4)
    trained = [keras.ops.convert_to_numpy(model(images, training=True)) for _ in range(2)]
    assert np.abs(trained[0] - trained[1]).max() > 1e-6
    assert [row.path for row in difflr.Plan(model).rows] == [row.path for row in difflr.Plan(network).rows]
    assert augmented(network, []) is network


def test_what_is_random_is_set_by_the_epoch(network, images):
    """So that a run which goes on after an interrupt sees the same changes."""
    model = augmented(network)
    seeds = difflr.data.EpochSeeds(3)
    seeds.set_model(model)
    outputs = []
    for epoch in (1, 2, 1):
        seeds.on_epoch_begin(epoch)
        outputs.append(keras.ops.convert_to_numpy(model(images, training=True)))
    np.testing.assert_array_equal(outputs[0], outputs[2])
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-6


@pytest.mark.same_everywhere
def test_the_sheet_begins_each_row_with_the_image_as_it_is(images):
    sheet = augmentation_sheet(images, columns=3)
    assert (sheet.shape, sheet.dtype) == ((4 * 12 + 4, 3 * 12 + 4, 3), np.uint8)
    first, second = sheet[16:24, 4:12], sheet[16:24, 16:24]
    np.testing.assert_array_equal(first, images[1].astype("uint8"))
    assert (second != first).any()
    assert (sheet[12:16] == sheet[0, 0]).all()  # the gap


@pytest.mark.same_everywhere
def test_other_changes_are_refused(network):
    with pytest.raises(
        ValueError, match="must be 'flip', 'rotate', 'zoom', 'shift' or 'light'. Received: 'flop'. Did you mean 'flip'"
    ):
        augmented(network, ["flop"])
