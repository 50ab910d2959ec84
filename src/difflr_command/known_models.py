"""Pretrained networks by name: what is known of each before Keras is imported, so that the list and completion are quick."""

import dataclasses
import difflib
import os
import re
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class KnownModel:
    """A network that can be named.

    Args:
        name: As it is written on the command line.
        function: In `keras.applications`; empty for the demo's SqueezeNet.
        size: Height and width of the images it was trained with.
        scale: Of `difflr.data.SCALES`; 0..255 where it scales them itself.
        parameters: Without the last layer for ImageNet's 1,000 classes.
        weights: The name of its file in `~/.keras/models`.
    """

    name: str
    function: str
    size: int
    scale: str
    parameters: int
    weights: str

    @property
    def is_here(self) -> bool:
        """Whether its weights seem to be on this machine."""
        if not self.function:  # as difflr.demo.packages has it
            cache = Path(os.environ.get("DIFFLR_CACHE") or Path.home() / ".cache" / "difflr")
            return (cache / self.weights).is_file()
        return (weights_folder() / self.weights).is_file()


# What `keras.applications` has, by size.
TABLE = Path(__file__).with_suffix(".txt")


def _entry(line: str) -> KnownModel:
    name, function, size, scale, parameters, weights = line.format(tf="_weights_tf_dim_ordering_tf_kernels").split()
    return KnownModel(name, function.strip("-"), int(size), scale, int(parameters.replace(",", "")), weights)


KNOWN = tuple(map(_entry, TABLE.read_text(encoding="utf-8").splitlines()[1:]))
PRESET = re.compile(r"(?:[a-z0-9]+_)+[a-z0-9]+|(?:kaggle|hf|modelscope)://\S+")


def weights_folder() -> Path:
    """Where Keras keeps the weights that it fetched."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def known(model: Path) -> KnownModel | None:
    """The network of this name, in any spelling, if there is no such file."""
    if model.is_file():
        return None
    return next((entry for entry in KNOWN if _plain(entry.name) == _plain(str(model))), None)


def is_preset(model: Path) -> bool:
    """Whether `model` is written as KerasHub's presets are, or is a folder with one."""
    if model.is_dir():
        return (model / "config.json").is_file()
    return not model.exists() and bool(PRESET.fullmatch(preset_name(model)))


def preset_name(model: Path) -> str:
    """The preset as it was written: a path has one slash where an address has two."""
    return re.sub(r"^(kaggle|hf|modelscope):/(?!/)", r"\1://", str(model))


def check_model(model: Path) -> None:
    """Checks that there is such a file, or a network of that name.

    Raises:
        ValueError: If there is neither.
    """
    if model.is_file() or known(model) or is_preset(model):
        return
    if model.is_dir():
        raise ValueError(f"A model is a .keras file or a name of `difflr models`. Received: the folder {model}.")
    close = difflib.get_close_matches(str(model).lower(), [entry.name for entry in KNOWN], n=1, cutoff=0.6)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise ValueError(f"There is no model file {model}, and no network of that name: `difflr models` lists them.{hint}")


def complete(incomplete: str) -> list[str]:
    """The names that begin so, for the shell."""
    return [entry.name for entry in KNOWN if entry.name.startswith(incomplete)]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
