"""Which backend Keras shall use; Keras reads it once, when it is imported."""

import importlib.util
import os
import sys

BACKENDS = ("jax", "tensorflow", "torch")


def choose(asked: str) -> None:
    """Sets `KERAS_BACKEND` to what was asked for, or, if nothing says it, to JAX, else the first that is installed.

    Raises:
        ValueError: If there is no such backend, or it is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Not `keras.json`: Keras writes one by itself, with TensorFlow in it.
    asked = asked or os.environ.get("KERAS_BACKEND", "")
    if asked and asked not in BACKENDS:
        raise ValueError(f"There is no backend '{asked}'. Expected one of: {', '.join(BACKENDS)}.")
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if (asked and asked not in installed) or not installed:
        raise ValueError(
            f"The backend {asked or 'that Keras needs'} is not installed. Installed: {', '.join(installed) or 'none'}. "
            f"Run: pip install {asked or 'jax'}"
        )
    if "keras" in sys.modules:
        running = sys.modules["keras"].backend.backend()
        if asked and asked != running:
            raise ValueError(f"Keras already runs on {running}; it cannot change to {asked} in the same process.")
        return
    os.environ["KERAS_BACKEND"] = asked or installed[0]
