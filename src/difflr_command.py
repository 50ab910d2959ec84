"""The entry point of the command `difflr`: chooses JAX before Keras is imported, then hands over to `difflr.cli`.

It stands beside the package, not in it, because importing anything of `difflr` imports Keras, and Keras reads its backend
once, on import.
"""

import os
import sys


def main() -> None:
    """Runs the command line; the backend is `--backend`, else `KERAS_BACKEND`, else JAX."""
    arguments = sys.argv[1:]
    for position, argument in enumerate(arguments):
        if argument == "--backend" and position + 1 < len(arguments):
            os.environ["KERAS_BACKEND"] = arguments[position + 1]
        elif argument.startswith("--backend="):
            os.environ["KERAS_BACKEND"] = argument.removeprefix("--backend=")
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import typer  # noqa: F401
    except ImportError:
        sys.exit("The command line needs typer and rich: pip install 'difflr[cli]'")
    try:
        from difflr.cli import app
    except ImportError as error:
        backend = os.environ["KERAS_BACKEND"]
        sys.exit(
            f"Keras cannot use the backend '{backend}': {error}\nInstall it (pip install {backend}), or --backend."
        )
    app()
