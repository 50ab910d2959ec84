"""Fixtures for all tests, and how many examples hypothesis tries."""

import hypothesis
import keras
import pytest

_ALWAYS = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
_UNSHRUNK = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
hypothesis.settings.register_profile(
    "quick", max_examples=10, derandomize=True, database=None, phases=_UNSHRUNK, **_ALWAYS
)
hypothesis.settings.register_profile("thorough", max_examples=1000, print_blob=True, **_ALWAYS)
hypothesis.settings.load_profile("quick")  # another: --hypothesis-profile=thorough


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
