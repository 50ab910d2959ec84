"""Networks of which only the structure is looked at are made of zeros: JAX compiles a random initialiser for each shape."""

import keras
import numpy as np
import pytest


@pytest.fixture(scope="module")
def of_zeros():
    def zeros(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype or "float32"))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("VarianceScaling", "RandomNormal", "RandomUniform", "TruncatedNormal", "Zeros"):
            patch.setattr(getattr(keras.initializers, name), "__call__", zeros)
        yield
