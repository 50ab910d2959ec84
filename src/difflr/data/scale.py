"""How the bytes of images become the numbers that a network was trained with."""

from collections.abc import Iterator

import keras
import numpy as np

from difflr import keras_private

# Scale -> which networks of keras.applications want it.
SCALES = {
    "0..255": "networks with a Rescaling or Normalization layer: EfficientNet, MobileNetV3, ConvNeXt, RegNet",
    "0..1": "many networks of one's own",
    "-1..1": "MobileNet, MobileNetV2, Inception, Xception, NASNet, ResNetV2",
    "imagenet": "DenseNet, and networks from PyTorch: 0..1 less ImageNet's mean, by its deviation",
    "caffe": "VGG, ResNet: 0..255 in the order BGR less ImageNet's mean",
}
# Scale -> factor and offset per channel, as in keras.applications.imagenet_utils.preprocess_input.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
RESCALING = {
    "0..1": (1 / 255, 0.0),
    "-1..1": (1 / 127.5, -1.0),
    "imagenet": ((1 / (255 * DEVIATION)).tolist(), (-MEAN / DEVIATION).tolist()),
    "caffe": (1.0, [-103.939, -116.779, -123.68]),
}


def to_scale(images: np.ndarray, scale: str) -> np.ndarray:
    """Converts images to the range of values that a network was trained with.

    Args:
        images: Images with values 0..255, `(num_images, height, width, channels)`.
        scale: One of `difflr.data.SCALES`: `"0..255"`, `"0..1"`, `"-1..1"`, `"imagenet"`, `"caffe"`; the last two are
            for RGB.

    Returns:
        An array of the same shape, float32.

    Raises:
        ValueError: If `scale` is not one of these, or needs three channels.

    Example:

    ```python
    images = np.full((1, 2, 2, 3), 255, "uint8")
    assert difflr.data.to_scale(images, "-1..1").max() == 1
    ```

    Reference: `keras.applications.imagenet_utils.preprocess_input`.
    """
    if scale not in SCALES:
        raise ValueError(f"`scale` must be one of {', '.join(SCALES)}. Received: {scale!r}.")
    if scale in ("imagenet", "caffe") and images.shape[-1] != 3:
        raise ValueError(f"The scale '{scale}' is for RGB images. Received: {images.shape[-1]} channels.")
    values = images.astype("float32")
    factor, offset = RESCALING.get(scale, (1.0, 0.0))
    return (values[..., ::-1] if scale == "caffe" else values) * np.float32(factor) + np.float32(offset)


def has_own_scale(model: keras.Layer) -> bool:
    """Whether `model` takes images in 0..255: a Rescaling or Normalization layer comes before its first weights.

    Args:
        model: A built model.

    Example:

    ```python
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3)])
    assert difflr.data.has_own_scale(network)
    ```
    """
    for layer in leaf_layers(model):
        if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
            return True
        if keras_private.own_trainable_variables(layer):
            return False
    return False


def leaf_layers(layer: keras.Layer) -> Iterator[keras.Layer]:
    """The layers that hold no others, in order.

    Args:
        layer: A model or a layer.
    """
    below = keras_private.sublayers(layer)
    if not below:
        yield layer
    for each in below:
        yield from leaf_layers(each)
