"""Which backend Keras shall use; Keras reads it once, when it is imported."""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

BACKENDS = ("jax", "tensorflow", "torch")
LOUD = ("tensorflow", "tensorflow_text")  # what writes to the terminal when it is imported
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR"}
LOGGERS = ("jax", "jax._src.xla_bridge", "tensorflow", "absl", "torch")

# The option --backend of the command that runs.
asked = ""


def import_keras() -> None:
    """Imports Keras on the backend that was asked for.

    Raises:
        ValueError: If there is no such backend, or it is not installed.
    """
    choose(asked)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import logging

    for name in LOGGERS:  # what they say of devices that they find, or do not
        logging.getLogger(name).setLevel(logging.ERROR)
    if not any(isinstance(finder, _QuietImports) for finder in sys.meta_path):
        sys.meta_path.insert(0, _QuietImports())
    with quietly():
        importlib.import_module("difflr")


class _QuietImports(importlib.abc.MetaPathFinder):
    """Imports TensorFlow silently, wherever that is: Keras and KerasHub do so on every backend, to save or read texts."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        spec = importlib.machinery.PathFinder.find_spec(name, path) if name in LOUD else None
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_quietly(module: types.ModuleType) -> None:
                with quietly():
                    execute(module)

            spec.loader.exec_module = execute_quietly  # type: ignore[method-assign]
        return spec


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps the start-up messages of the backends from the terminal, unless an import fails.

    TensorFlow writes some before it reads how much it may write. They do not come from Python, so stderr is replaced below
    it.
    """
    import tempfile  # slow

    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        except ImportError:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)


def choose(asked: str) -> None:
    """Sets `KERAS_BACKEND` to what was asked for, or, if nothing says it, to JAX, else the first that is installed.

    Raises:
        ValueError: If there is no such backend, or it is not installed.
    """
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
