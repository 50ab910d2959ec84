"""Python in processes of its own, on the backend of the tests."""

import contextlib
import os
import sys
from pathlib import Path

import keras

TESTS = Path(__file__).parent
PATHS = (TESTS, TESTS.parent / "src")
# Keras on JAX and torch imports TensorFlow, where there is one, to save, to load and to set a seed: four seconds of a
# processor in every process.
TENSORFLOW_IS_NEEDED = keras.backend.backend() == "tensorflow"
QUICKLY = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def forget_tensorflow():
    """Makes this process as if TensorFlow were not installed, unless it is the backend."""
    if (
        not TENSORFLOW_IS_NEEDED
    ):  # `sys.modules["tensorflow"] = None` would not do: Keras looks there whether it is used
        sys.path.insert(0, str(TESTS / "without_tensorflow"))


@contextlib.contextmanager
def compiled_quickly():
    """On JAX: compiled without most optimizations, as processes with `QUICKLY` among their variables."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def environment(*paths, **variables):
    """The variables of a process: the same backend, difflr and the tests on the path, behind `paths`."""
    found = [*map(str, (*paths, *PATHS)), *([] if TENSORFLOW_IS_NEEDED else [str(TESTS / "without_tensorflow")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found), "KERAS_BACKEND": keras.backend.backend(), **variables}
