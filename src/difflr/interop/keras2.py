"""Load models of the Keras 2 fork whose layers have `W_learning_rate_multiplier` and `b_learning_rate_multiplier`."""

import json
import os
from typing import Any

import h5py
import keras

from difflr import layers
from difflr.checks import did_you_mean, shown
from difflr.models import Model, Sequential

_MODELS: dict[str, Any] = {"Sequential": Sequential, "Model": Model, "Functional": Model}
_MULTIPLIERS = ("W_learning_rate_multiplier", "b_learning_rate_multiplier")

# Keras 1 argument names, which Keras 2 files may still have.
# Reference: `keras/legacy/interfaces.py` in Keras 2.
_OLD_NAMES = {
    "nb_filter": "filters",
    "output_dim": "units",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "border_mode": "padding",
    "dim_ordering": "data_format",
    "atrous_rate": "dilation_rate",
    "init": "kernel_initializer",
    "W_regularizer": "kernel_regularizer",
    "b_regularizer": "bias_regularizer",
    "W_constraint": "kernel_constraint",
    "b_constraint": "bias_constraint",
    "bias": "use_bias",
    "pool_length": "pool_size",
    "p": "rate",
}
_OF_INPUTS = ("input_dtype", "input_dim", "input_length")  # also in `batch_input_shape`
_OLD_SIZES = (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3"))
_OLD_VALUES = {"data_format": {"th": "channels_first", "tf": "channels_last"}}
_OLD_CLASSES = {f"{name}{n}D": f"Conv{n}D" for name in ("Convolution", "AtrousConvolution") for n in (1, 2, 3)}


def load_keras2(path: Any, weights: Any = None) -> keras.Model:
    """Load a model saved by the Keras 2 fork of the original request, with its weights and multipliers.

    Layers with `W_learning_rate_multiplier` or `b_learning_rate_multiplier` become those of `difflr.layers` with the same
    arguments; 0.0 freezes, `None` declares nothing. Keras's own loader for legacy files does the rest. Plain
    Keras 2 models without multipliers load too.

    Args:
        path: A model in HDF5 (`model.save`), or the architecture as JSON (`model.to_json`).
        weights: For JSON, the HDF5 file with the weights (`model.save_weights`); `None`: keep the initial weights.

    Returns:
        A `difflr.Model` or `difflr.Sequential`, not compiled. Its multipliers apply with any optimizer.

    Raises:
        ValueError: If the file contains no model, or a layer that cannot have a multiplier has one.

    Example:

    ```python
    import json

    layer = {"name": "fc", "units": 2, "W_learning_rate_multiplier": 0.1, "batch_input_shape": [None, 3]}
    fork = {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": layer}]}
    with open("fork.json", "w") as file:
        json.dump(fork, file)
    loaded = difflr.interop.load_keras2("fork.json")
    assert difflr.Plan(loaded).multipliers[loaded.get_layer("fc").kernel] == 0.1
    ```

    Reference: the original request, where layers and SGD have the multipliers.
    """
    name = os.fspath(path)
    if h5py.is_hdf5(name):
        with h5py.File(name, "r") as file:
            text = file.attrs.get("model_config")
        if text is None:
            raise ValueError(
                f"{name} contains only weights. Pass the architecture as JSON, and this file as `weights`."
            )
        weights = name
    else:
        with open(name, "rb") as binary:
            text = binary.read()
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is neither an HDF5 file nor a JSON model: {error}") from None
    if not isinstance(config, dict) or config.get("class_name") not in _MODELS or "config" not in config:
        found = config.get("class_name") if isinstance(config, dict) else config
        raise ValueError(
            f"{name} contains no Keras 2 model. Expected one of {', '.join(_MODELS)} at its top. Received: {shown(found)}."
            f"{did_you_mean(str(found), _MODELS)}"
        )
    cls = _MODELS[config["class_name"]]
    model = cls.from_config(_translated(config, declare=True)["config"])
    if weights is not None:
        # Keras reads legacy weights in the order trainable, non-trainable. In Keras 2 multipliers of 0 did not change
        # that order, so load the weights without multipliers.
        plain = cls.from_config(_translated(config, declare=False)["config"])
        plain.load_weights(os.fspath(weights))
        model.set_weights(plain.get_weights())
    return model


def _translated(part: Any, declare: bool) -> Any:
    """The config with Keras 3 classes and arguments, nested layers included, with or without multipliers."""
    if isinstance(part, list):
        return [_translated(item, declare) for item in part]
    if not isinstance(part, dict):
        return part
    part = {name: _translated(value, declare) for name, value in part.items()}
    if part.get("class_name") == "Sequential":
        part["config"] = _sequential(part)
    if "output_layers" in part:
        part = _renumbered(part)
    if isinstance(part.get("config"), dict) and isinstance(part.get("class_name"), str):
        part["class_name"] = _OLD_CLASSES.get(part["class_name"], part["class_name"])
        _translate_layer(part, declare)
    return part


def _sequential(part: dict[str, Any]) -> dict[str, Any]:
    """The config of a Sequential model, with the input that Keras 2 stored in the first layer."""
    config = part["config"]
    if isinstance(config, list):  # before Keras 2.2.3
        config = {"name": part.get("name"), "layers": config}
    if not config["layers"]:
        raise ValueError("The file contains a Sequential model without layers.")
    first = config["layers"][0]["config"]
    shape = first.get("batch_input_shape") if config["layers"][0]["class_name"] != "InputLayer" else None
    if shape is None:
        return config
    first = {name: value for name, value in first.items() if name != "batch_input_shape"}
    inputs = {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "dtype": first.get("dtype")}}
    layers = [inputs, {**config["layers"][0], "config": first}, *config["layers"][1:]]
    return {**config, "layers": layers}


def _renumbered(config: dict[str, Any]) -> dict[str, Any]:
    """A functional config in which the first call of a model has index 0, as in Keras 3; in Keras 2 it is 1.

    Keras's loader does this for outputs, except in Sequential models.
    """
    kinds = {layer["config"].get("name", layer.get("name")): layer["class_name"] for layer in config["layers"]}
    models = {name for name, kind in kinds.items() if kind in _MODELS}
    sequential = {name for name in models if kinds[name] == "Sequential"}
    return {
        **config,
        "layers": [{**layer, "inbound_nodes": _shifted(layer["inbound_nodes"], models)} for layer in config["layers"]],
        "input_layers": _alone(config["input_layers"]),
        "output_layers": _alone(_shifted(config["output_layers"], sequential)),
    }


def _alone(ends: list[Any]) -> list[Any]:
    """A single input or output without its list, which Keras 3 would also expect around the data."""
    return ends[0] if len(ends) == 1 else ends


def _shifted(references: Any, models: set[str]) -> Any:
    if not isinstance(references, list):
        return references
    if len(references) > 2 and isinstance(references[0], str):
        name, number, *rest = references
        return [name, max(number - 1, 0) if name in models else number, *rest]
    return [_shifted(item, models) for item in references]


def _translate_layer(part: dict[str, Any], declare: bool) -> None:
    config = part["config"]
    if part["class_name"] != "Embedding":  # its `output_dim` has this name in Keras 3
        _rename(config)
    multipliers = {name: config.pop(name) for name in _MULTIPLIERS if name in config}
    multipliers = {name: value for name, value in multipliers.items() if value is not None}
    if not multipliers:
        return
    cls = getattr(layers, part["class_name"], None)
    if cls is None or not issubclass(cls, layers.DeclaresKernelAndBias):
        raise ValueError(
            f"The layer '{config.get('name')}' of class {part['class_name']} has {', '.join(multipliers)}, but only "
            "convolutions and Dense support it."
        )
    if declare:
        part["class_name"] = f"difflr>{cls.__name__}"
        config.update(multipliers)


def _rename(config: dict[str, Any]) -> None:
    for sizes in _OLD_SIZES:
        if set(sizes) <= set(config):
            config["kernel_size"] = [config.pop(name) for name in sizes]
    for name in _OF_INPUTS:
        config.pop(name, None)
    for old, new in _OLD_NAMES.items():
        if old in config and new not in config:
            value = config.pop(old)
            config[new] = _OLD_VALUES.get(new, {}).get(value, value) if isinstance(value, str) else value
