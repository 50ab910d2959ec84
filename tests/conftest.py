"""Fixtures for all tests, and how many examples hypothesis tries."""

import gc
import os
import sys
from pathlib import Path

# The tests, and the processes they start, compile the same small steps over and over: kept on disk, they take half of the
# processor time on JAX already in the first run. Set before JAX is imported. Each Python
# has its own: they do not pack alike.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache" / str(sys.implementation.cache_tag))
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import hypothesis
import pytest

# Bytecode is kept, whatever the environment says: without it the tests are collected in twice the time, and every
# process they start compiles difflr again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.pop("COLUMNS", None)  # test processes side by side get 80 from pytest-xdist: tables are as in a pipe

_ALWAYS = {"deadline": None, "suppress_health_check": list(hypothesis.HealthCheck)}
_UNSHRUNK = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
hypothesis.settings.register_profile(
    "quick", max_examples=10, derandomize=True, database=None, phases=_UNSHRUNK, **_ALWAYS
)
hypothesis.settings.register_profile("thorough", max_examples=1000, print_blob=True, **_ALWAYS)
hypothesis.settings.load_profile("quick")  # another: --hypothesis-profile=thorough


def pytest_addoption(parser):
    parser.addoption("--everywhere", action="store_true", help="also run tests marked same_everywhere on this backend")


def pytest_sessionstart(session):
    if (
        session.config.option.dist == "no"
    ):  # the process that hands the tests to others needs no Keras, which takes seconds
        from processes import forget_tensorflow

        forget_tensorflow()


def pytest_collection_modifyitems(config, items):
    """Tests marked `same_everywhere` run on torch, the quickest, but for the parameters named in `but`."""
    import keras

    backend = keras.backend.backend()
    if backend != "torch" and not config.getoption("everywhere"):
        left_out = [item for item in items if not _runs_everywhere(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    if backend == "tensorflow" and keras.__version__.startswith("3.12."):
        raises = pytest.mark.skip(reason="Keras's own Muon raises at the first step")
        for item in items:
            if "muon" in item.name.lower():
                item.add_marker(raises)


def _runs_everywhere(item):
    mark = item.get_closest_marker("same_everywhere")
    return mark is None or (bool(mark.kwargs) and item.callspec.id in mark.kwargs["but"])


def pytest_collection_finish():
    """Garbage is looked for among what the tests make: all that was imported takes Keras's `clear_session` 0.3 s a call."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def eager_steps(monkeypatch):
    """On TensorFlow a step runs as it is written: to trace its graph takes a second for each model."""
    import keras

    if keras.backend.backend() == "tensorflow":
        eager = property(lambda model: True, lambda model, value: None)
        monkeypatch.setattr(keras.src.trainers.trainer.Trainer, "run_eagerly", eager)


@pytest.fixture(scope="module")
def quick_compilation():
    """On JAX most of the time of tests over many layers goes into compiling each operation for each shape."""
    from processes import compiled_quickly

    with compiled_quickly():
        yield


@pytest.fixture(scope="module")
def of_zeros():
    """Networks of which only the structure matters: JAX compiles a random initialiser for each shape."""
    import keras
    import numpy as np

    def zeros(self, shape, dtype=None):
        return keras.ops.convert_to_tensor(np.zeros(shape, dtype or "float32"))

    with pytest.MonkeyPatch.context() as patch:
        for name in ("VarianceScaling", "RandomNormal", "RandomUniform", "TruncatedNormal", "Zeros"):
            patch.setattr(getattr(keras.initializers, name), "__call__", zeros)
        yield


@pytest.fixture(autouse=True)
def figures_are_closed():
    """Pyplot keeps every figure, and warns at the twentieth."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
