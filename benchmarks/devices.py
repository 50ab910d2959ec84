"""The device a backend computes on: its name, its memory, how fast it moves it."""

import platform
import time

import keras
import numpy as np

from benchmarks import measure

ARRAY = {"cpu": 1 << 26, "gpu": 1 << 28}  # float32 numbers, far more than any cache holds


def gpu_name() -> str | None:
    """The name of the card, or `None` where the backend computes on the processor."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    if backend == "jax":
        import jax

        device = jax.devices()[0]
        return device.device_kind if device.platform in ("gpu", "cuda", "rocm") else None
    import tensorflow as tf

    found = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU") if found else None


def versions() -> dict[str, str]:
    """Of Python, Keras, the backend and the peers."""
    from importlib import metadata

    backend = keras.backend.backend()
    found = {"python": platform.python_version(), "keras": keras.__version__}
    for name in {"jax": ("jax", "optax"), "tensorflow": ("tensorflow",), "torch": ("torch",)}[backend]:
        try:
            found[name] = __import__(name).__version__ if name != "optax" else metadata.version(name)
        except ImportError:
            continue
    return found


def begin_counting_memory() -> int:
    """What is in use before anything is made: on the processor; a card's framework counts by itself."""
    return 0 if gpu_name() else measure.resident_bytes()


def peak_memory() -> int:
    """The most memory in use since the start, from the card's framework or the operating system."""
    if not gpu_name():
        return measure.peak_bytes()
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        return torch.cuda.max_memory_allocated()
    if backend == "jax":
        import jax

        return jax.local_devices()[0].memory_stats()["peak_bytes_in_use"]
    import tensorflow as tf

    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def bandwidth(seconds: float = 1.0) -> float:
    """Bytes a second, read and written, when one large array is increased in place; the best of several."""
    size = ARRAY["gpu" if gpu_name() else "cpu"]
    step = {"jax": _increase_jax, "tensorflow": _increase_tensorflow, "torch": _increase_torch}[keras.backend.backend()]
    increase = step(np.zeros(size, "float32"))
    increase()
    best = float("inf")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = min(best, measure.seconds_of(increase))
    return 8 * size / best


def _increase_jax(values):
    import jax

    held = [jax.numpy.array(values)]
    add = jax.jit(lambda x: x + 1, donate_argnums=0)

    def increase():
        held[0] = jax.block_until_ready(add(held[0]))

    return increase


def _increase_tensorflow(values):
    import tensorflow as tf

    variable = tf.Variable(values)

    @tf.function(jit_compile=True)
    def add():
        variable.assign_add(tf.broadcast_to(1.0, variable.shape))

    def increase():
        add()
        if gpu_name():
            tf.test.experimental.sync_devices()

    return increase


def _increase_torch(values):
    import torch

    from benchmarks.contenders import wait_for_torch

    held = torch.tensor(values, device="cuda" if gpu_name() else "cpu")

    def increase():
        held.add_(1)
        wait_for_torch()

    return increase
