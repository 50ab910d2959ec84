"""`augmented`: a model with random image augmentation while training; `augmentation_sheet` previews it."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from difflr.checks import checked_option
from difflr.models.new_head import as_functional

RANGE = (0, 255)
GAP, GRAY = 4, 160  # of a contact sheet
# Name -> layers. Mild, as fastai's `aug_transforms`: rotate by 10 degrees, zoom by 1.1, lighting 0.2.
CHANGES: dict[str, Callable[[], list[keras.Layer]]] = {
    "flip": lambda: [keras.layers.RandomFlip("horizontal", name="augment_flip")],
    "rotate": lambda: [keras.layers.RandomRotation(10 / 360, fill_mode="nearest", name="augment_rotate")],
    "zoom": lambda: [keras.layers.RandomZoom(0.1, fill_mode="nearest", name="augment_zoom")],
    "shift": lambda: [keras.layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", name="augment_shift")],
    "light": lambda: [
        keras.layers.RandomBrightness(0.1, value_range=RANGE, name="augment_brightness"),
        keras.layers.RandomContrast(0.2, value_range=RANGE, name="augment_contrast"),
    ],
}
DEFAULT_CHANGES = ("flip", "rotate", "zoom", "light")


def augmented(model: keras.Model, changes: Sequence[str] = DEFAULT_CHANGES) -> keras.Model:
    """Add Keras augmentation layers in front of a model. They act in training and do nothing in prediction.

    Layers are shared with `model`: training one trains the other, and plans for one fit the other. Save `model`,
    not the result.

    Args:
        model: A functional or Sequential model, built, with one input: images 0..255, channels last.
        changes: Any of `"flip"` (left and right), `"rotate"` (by 10 degrees at most), `"zoom"` (by a tenth), `"shift"` (by a
            tenth), `"light"` (brightness and contrast).

    Returns:
        A functional model, not compiled; `model` itself if there are no changes.

    Raises:
        ValueError: If a change is not one of these.

    Example:

    ```python
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="stem")])
    trained = difflr.models.augmented(network, ["flip", "zoom"])
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 3))
    np.testing.assert_allclose(trained.predict(images, verbose=0), network.predict(images, verbose=0), rtol=1e-4)
    ```
    """
    layers = _layers(changes)
    if not layers:
        return model
    model = as_functional(model)
    inputs = keras.Input(batch_shape=model.inputs[0].shape, name="augmented_images")
    x = inputs
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, model.call(x), name=model.name)


def _layers(changes: Sequence[str]) -> list[keras.Layer]:
    return [layer for name in changes for layer in CHANGES[checked_option(name, "changes", CHANGES)]()]


def augmented_images(images: np.ndarray, changes: Sequence[str] = DEFAULT_CHANGES, columns: int = 8) -> np.ndarray:
    """Each image, and augmented versions of it.

    Args:
        images: Values 0..255, `(num_images, height, width, channels)`.
        changes: As in `augmented`.
        columns: Integer. The number of versions; the first is the original.

    Returns:
        Array `(num_images, columns, height, width, channels)`, uint8.
    """
    layers = _layers(changes)
    rows = [images.astype("float32")]
    for _ in range(columns - 1):
        x = keras.ops.convert_to_tensor(rows[0])
        for layer in layers:
            x = layer(x, training=True)
        rows.append(keras.ops.convert_to_numpy(x))
    return np.clip(np.stack(rows, 1), *RANGE).astype("uint8")


def augmentation_sheet(images: np.ndarray, changes: Sequence[str] = DEFAULT_CHANGES, columns: int = 8) -> np.ndarray:
    """A contact sheet: each image with augmented versions next to it.

    Args:
        images: Images with values 0..255, `(num_images, height, width, channels)`.
        changes: As in `augmented`.
        columns: Integer. Images per row; the first is the original.

    Returns:
        Array `(num_images * (height + 4) + 4, columns * (width + 4) + 4, channels)`, uint8: a gray gap of 4 pixels is
        around each image.

    Example:

    ```python
    sheet = difflr.models.augmentation_sheet(np.zeros((3, 8, 8, 3), "uint8"), columns=4)
    print(sheet.shape)  # (40, 52, 3)
    ```
    """
    shown = augmented_images(images, changes, columns)
    sides = ((0, 0), (0, 0), (GAP, 0), (GAP, 0), (0, 0))
    tiles = np.pad(shown, sides, constant_values=GRAY).transpose(0, 2, 1, 3, 4)
    number, height, _, width, channels = tiles.shape
    rows = tiles.reshape(number * height, columns * width, channels)
    return np.pad(rows, ((0, GAP), (0, GAP), (0, 0)), constant_values=GRAY)
