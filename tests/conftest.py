"""Fixtures for all tests."""

import keras
import pytest


@pytest.fixture(scope="module")
def quick_compilation():
    """On JAX most of the time of tests over many layers goes into compiling each operation for each shape."""
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
