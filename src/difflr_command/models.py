"""Models from files."""

import importlib
import zipfile
from pathlib import Path

import keras

import difflr
from difflr_command.backend import quietly


def load(file: Path, compile: bool = False) -> keras.Model:
    """The model in a `.keras` file, loaded safely: no code in it is run.

    Raises:
        ValueError: If there is no such file, or it cannot be loaded; the message says what to do.
    """
    if not file.is_file():
        raise ValueError(f"There is no model file {file}.")
    if file.suffix != ".keras":
        raise ValueError(
            f"A model is a .keras file. Received: {file}. In Python: "
            f"keras.saving.load_model('{file.name}').save('{file.stem}.keras')"
        )
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is damaged, or no .keras file. Write it by model.save('{file.name}').")
    _import_keras_hub(file)
    try:
        with quietly():
            model = keras.saving.load_model(file, compile=compile, safe_mode=True)
    except Exception as error:
        raise ValueError(_why_not(file, error)) from error
    if not isinstance(model, keras.Model):
        raise ValueError(f"{file} holds a {type(model).__name__}, not a model.")
    return model


def _import_keras_hub(file: Path) -> None:
    """Registers the layers of KerasHub, if the file needs them and it is installed."""
    with zipfile.ZipFile(file) as archive:
        if "config.json" in archive.namelist() and b"keras_hub" in archive.read("config.json"):
            try:
                importlib.import_module("keras_hub")
            except ImportError:
                raise ValueError(f"{file} needs KerasHub: pip install keras-hub") from None


def _why_not(file: Path, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "lambda" in text.lower() and "safe" in text.lower():
        return (
            f"{file} holds a Lambda layer, that is Python code, which is not run from a file. Put a registered layer in "
            "its place and save the model anew, or fine-tune it in Python: difflr.fine_tune."
        )
    if "Could not locate" in text or "Unknown" in text:
        return f"{file} needs Python code that is not in Keras: use difflr.fine_tune there. ({text[:200]})"
    return f"{file} cannot be loaded: {text[:300]}"


def with_new_head(model: keras.Model, wanted: bool, classes: int | None, features: str | None) -> keras.Model:
    """`model`, with a new last layer if that is wanted: the options `--new-head`, `--classes` and `--features`.

    Raises:
        ValueError: If one of them lacks another, or the model cannot have one.
    """
    if not wanted:
        if classes is not None or features is not None:
            raise ValueError("--classes and --features are about a new last layer: give --new-head too.")
        return model
    if classes is None:
        raise ValueError("--new-head needs --classes, the number of classes: there is no data here to count them in.")
    return difflr.new_head(model, classes, features=features)
