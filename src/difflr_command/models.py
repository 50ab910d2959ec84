"""Models from files, and pretrained networks by name."""

import importlib
import re
import zipfile
from pathlib import Path

import keras

import difflr
from difflr_command import console, known_models
from difflr_command.backend import quietly


def load(model: Path, compile: bool = False, size: tuple[int, int] | None = None) -> keras.Model:
    """The model in a `.keras` file, loaded safely: no code in it is run. Or the pretrained network of that name.

    Args:
        model: The file, or the name.
        compile: Whether to compile it as the file says.
        size: Height and width of the images, for a network of a name.

    Raises:
        ValueError: If there is no such file, or it cannot be loaded; the message says what to do.
    """
    network = known_models.known(model)
    if network is not None:
        return _pretrained(network, size)
    if known_models.is_preset(model):
        from difflr_command.hub import load_preset

        return load_preset(known_models.preset_name(model), size)
    return _from_file(model, compile)


def _pretrained(network: known_models.KnownModel, size: tuple[int, int] | None) -> keras.Model:
    """A named network without its head, behind the scaling that it was trained with: it takes images in 0..255."""
    height, width = size or (network.size, network.size)
    if not network.function:
        from difflr.demo import squeezenet

        return squeezenet.build((height, width), squeezenet.read_weights())
    build = getattr(keras.applications, network.function)
    try:
        with console.quiet(), quietly():
            model = build(include_top=False, weights="imagenet", input_shape=(height, width, 3))
    except ValueError as error:  # too small for the network, most of all
        raise ValueError(f"{network.name} cannot be made for {height} x {width} pixels: {error}") from None
    except Exception as error:
        raise ValueError(_not_fetched(network, " ".join(str(error).split()))) from None
    return difflr.models.with_scale(model, network.scale)


def _not_fetched(network: known_models.KnownModel, text: str) -> str:
    """What to do where the weights cannot be fetched, and are not on this machine."""
    found = re.search(r"https?://\S+?\.(?:h5|keras)", text)
    if not found:
        return f"The weights of {network.name} cannot be read: {text[:200]}"
    reason = text.rpartition("--")[2].strip(" :")[:100]
    file = known_models.weights_folder() / network.weights
    return (
        f"The weights of {network.name} are not on this machine, and cannot be fetched ({reason}). Where there is a "
        f"network, download {found[0]} and put it here as {file}."
    )


def _from_file(file: Path, compile: bool) -> keras.Model:
    known_models.check_model(file)
    if file.suffix != ".keras":
        raise ValueError(
            f"A model is a .keras file. Received: {file}. In Python: "
            f"keras.saving.load_model('{file.name}').save('{file.stem}.keras')"
        )
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file} is damaged, or no .keras file. Write it by model.save('{file.name}').")
    _import_keras_hub(file)
    try:
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
            f"{file} holds a Lambda layer, that is Python code, which is not run from a file. Replace it with a registered "
            "layer and save the model again, or fine-tune it in Python: difflr.fine_tune."
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
