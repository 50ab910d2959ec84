"""KerasHub's presets as models that take images in 0..255."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difflr_command.backend import import_keras, quietly

if TYPE_CHECKING:
    import keras


def _keras_hub() -> Any:
    """KerasHub, with its start-up messages kept from the terminal.

    Raises:
        ValueError: If it is not installed.
    """
    import_keras()
    try:
        return importlib.import_module("keras_hub")
    except ImportError:
        raise ValueError("Presets of KerasHub need it: pip install keras-hub") from None


def image_presets() -> dict[str, int]:
    """Name -> number of parameters, of the presets that classify images.

    Raises:
        ValueError: If KerasHub is not installed.
    """
    presets = _keras_hub().models.ImageClassifier.presets
    return {name: int(presets[name]["metadata"]["params"]) for name in sorted(presets)}


def load_preset(preset: str, size: tuple[int, int] | None) -> "keras.Model":
    """The backbone of a preset behind the scaling that it was trained with.

    Args:
        preset: A name, an address such as `hf://...`, or a folder.
        size: Height and width of the images; `None`: as the preset has them, else any.

    Raises:
        ValueError: If KerasHub is not installed, there is no such preset, it cannot be fetched, or takes no images.
    """
    import keras

    hub = _keras_hub()
    try:
        with quietly():
            backbone = hub.models.Backbone.from_preset(preset)
    except Exception as error:
        raise ValueError(_why_not(preset, error, hub)) from None
    shape = backbone.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] != 3:
        raise ValueError(
            f"The preset '{preset}' takes no images. Received: a {type(backbone).__name__} with the inputs {shape}."
        )
    pixels = size or _sides(shape) or _sides(_converter(hub, preset).get("image_size"))
    images = keras.Input((*(pixels or (None, None)), 3), name="images")
    converter = _converter(hub, preset)
    scale, offset = converter.get("scale"), converter.get("offset")
    x = images
    if scale is not None or offset is not None:
        scaled = keras.layers.Rescaling(
            1.0 if scale is None else scale, 0.0 if offset is None else offset, name="to_scale"
        )
        x = scaled(images)
    return keras.Model(images, backbone.call(x), name=backbone.name)


def _converter(hub: Any, preset: str) -> dict[str, Any]:
    """How the preset's own images are made: scale, offset, size; empty if it does not say."""
    try:
        with quietly():
            return dict(hub.layers.ImageConverter.from_preset(preset).get_config())
    except (ValueError, OSError):
        return {}


def _sides(shape: Any) -> tuple[int, int] | None:
    """Height and width in a shape `(batch, height, width, ...)` or a size `(height, width)`, if it has them."""
    sides = tuple(shape or ())[-3:-1] if len(shape or ()) == 4 else tuple(shape or ())
    return (int(sides[0]), int(sides[1])) if len(sides) == 2 and None not in sides else None


def _why_not(preset: str, error: Exception, hub: Any) -> str:
    text = " ".join(str(error).split())
    if Path(preset).is_dir():
        return f"The folder {preset} holds no preset of KerasHub: {text[:200]}"
    known = hub.models.Backbone.presets
    if "://" not in preset and preset not in known:
        return f"There is no model file and no preset '{preset}': `difflr models --hub` lists those for images."
    if isinstance(error, ValueError):
        return f"The preset '{preset}' cannot be loaded: {text[:200]}"
    where = "" if "://" in preset else f" ({known[preset]['kaggle_handle'].removeprefix('kaggle://')} on kaggle.com)"
    return (
        f"The preset '{preset}' is not on this machine and cannot be fetched: {text[:120]}. Where there is a network, "
        f"download it{where}, and give the folder with its config.json instead of the name."
    )
