"""Export the demo's network and digits as files for `difflr fine-tune`."""

from pathlib import Path

import keras
import numpy as np

from difflr.demo import digits, squeezenet
from difflr.files import whole_file

SIZE = 64
PER_CLASS = 50


def export(folder: str | Path, per_class: int = PER_CLASS) -> None:
    """Write `squeezenet.keras`, pretrained without a head, and `digits/` with a folder of images per digit.

    Args:
        folder: The output folder; created if needed.
        per_class: Integer. The number of images per digit, from the start of the data.

    Raises:
        PackageError: If the weights or images cannot be downloaded.
    """
    from PIL import Image

    folder = Path(folder)
    weights, (images, labels) = squeezenet.read_weights(), digits.load()
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "squeezenet.keras") as unfinished:
        plain_squeezenet(weights).save(unfinished)
    for label in range(10):
        below = folder / "digits" / str(label)
        below.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images[labels == label][:per_class]):
            Image.fromarray(image[..., 0]).save(below / f"{number:03}.png")


def plain_squeezenet(weights: dict[str, list[np.ndarray]], size: tuple[int, int] = (SIZE, SIZE)) -> keras.Model:
    """SqueezeNet from Keras layers only, so that its file loads anywhere: RGB in 0..255 -> 512 feature maps.

    The demo's network converts RGB to BGR; here the input channels of the first kernel are reversed instead.

    Args:
        weights: The result of `squeezenet.read_weights`.
        size: Height and width of the images.
    """
    network = squeezenet.load_imagenet(squeezenet.build((*size, 3), plain=True), weights)
    first = network.get_layer("conv1")
    kernel, bias = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], bias])
    return network
