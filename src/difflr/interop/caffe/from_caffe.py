"""`from_caffe`: convert a net's multipliers and its solver."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from difflr.checks import did_you_mean
from difflr.interop.caffe.net import CaffeLayer, CaffeParameter, layers_in_training
from difflr.interop.caffe.prototxt import read_net, read_solver
from difflr.interop.caffe.solver import learning_rate_of, optimizer_of
from difflr.interop.translation import Translation, translate
from difflr.plan import Plan, Row

_LSTM = {"kernel": 0, "bias": 1, "recurrent_kernel": 2}


def from_caffe(
    prototxt: Any, model: keras.Layer, solver: Any = None, *, names: Mapping[str, Any] | None = None
) -> Translation:
    """Convert a Caffe net's prototxt to a plan, and its solver to a schedule and an optimizer.

    `lr_mult` becomes the multiplier of a variable, `decay_mult` its weight-decay multiplier; `lr_mult: 0` freezes. The
    first `param` of a layer is for its weights, the second for its bias; unset values are 1. Layers are found by name at
    any depth of the model: `conv1/7x7_s2` is the layer with that path, or one named `conv1_7x7_s2`. A Scale layer after a
    BatchNorm layer is also searched by the name of the BatchNorm layer.

    Args:
        prototxt: Path of the net (`train_val.prototxt`), or an open text file. Accepts `param { lr_mult }` and the
            old `blobs_lr` and `weight_decay`. Ignores test-only layers.
        model: The built Keras model.
        solver: Path of the `solver.prototxt`, or an open text file. The translation then has `learning_rate` (a
            number or a `difflr.schedules.CaffeSchedule`) and `optimizer`.
        names: For layers with different names: Caffe's name -> the Keras layer or its layer-tree path.

    Returns:
        A `difflr.interop.Translation`: its `plan`, `learning_rate`, `optimizer`, and a report of what matched.

    Raises:
        ValueError: If a file is not in Caffe's format, is too large (4 million characters) or too deep, or
            matches nothing in the model; or if Caffe refuses it: shared parameters with different multipliers, an
            unknown policy, momentum with AdaGrad.
        ImportError: If protobuf is not installed: `pip install "difflr[caffe]"`.

    Warns:
        UserWarning: If a layer with weights, or a `param`, is not in the model.

    Example:

    ```python
    import io

    net = io.StringIO('layer { name: "stem" type: "InnerProduct" param { lr_mult: 0.1 } param { lr_mult: 0.2 } }')
    solver = io.StringIO('base_lr: 0.01 lr_policy: "inv" gamma: 0.0001 power: 0.75 momentum: 0.9')
    translation = difflr.interop.from_caffe(net, model, solver)
    print(translation)
    model.compile(translation.optimizer, loss="sparse_categorical_crossentropy")
    ```

    Reference: `ParamSpec` and `SolverParameter` in Caffe's `caffe.proto`; `net.cpp`, `sgd_solver.cpp`.
    """
    read = None if solver is None else read_solver(solver)
    layers = layers_in_training(read_net(prototxt), read)
    if not layers:
        raise ValueError("The net has no trainable layer. Expected a net file, such as train_val.prototxt.")
    decisions = _decisions(layers, list(Plan(model).rows), dict(names or {}))
    notes = [f"{layer.name}: moving statistics have no learning rate" for layer in layers if layer.type == "BatchNorm"]
    notes += [
        f"{layer.name}: `propagate_down: false` stops the gradient there; use keras.ops.stop_gradient in the model"
        for layer in layers
        if layer.stops_gradient
    ]
    notes += [
        f"{layer.name}: its statistics are fixed while training (`use_global_stats` or `frozen`); a plan fixes them if it "
        "freezes the layer, otherwise set `trainable = False` on it"
        for layer in layers
        if layer.fixed_statistics
    ]
    translation = translate("Caffe", model, lambda row: decisions.get(id(row.variable)), _settings(layers), notes=notes)
    if read is None:
        return translation
    rate = learning_rate_of(read)
    notes += [f"`max_iter: {read.max_iter}`: choose the epochs of `fit` to match"] if read.max_iter else []
    optimizer = optimizer_of(read, rate, translation.plan)
    return dataclasses.replace(translation, learning_rate=rate, optimizer=optimizer, notes=tuple(notes))


def _with_weights(layers: Iterable[CaffeLayer]) -> list[CaffeLayer]:
    return [layer for layer in layers if layer.has_weights]


def _settings(layers: list[CaffeLayer]) -> list[str]:
    """The names of all settings; a shared one is named after its first layer."""
    return [
        name
        for layer in _with_weights(layers)
        for name in ([parameter.name for parameter in layer.parameters] or [_default_of(layer).name])
    ]


def _default_of(layer: CaffeLayer) -> CaffeParameter:
    """Caffe's default for a parameter that the layer does not set."""
    return CaffeParameter(f"{layer.name} (default)")


def _decisions(layers: list[CaffeLayer], rows: list[Row], names: dict[str, Any]) -> dict[int, Any]:
    """Variable id -> its two multipliers and the setting that decides them."""
    in_net = [layer.name for layer in layers]
    unknown = sorted(set(names) - set(in_net))
    if unknown:
        hint = did_you_mean(unknown[0], in_net)
        raise ValueError(f"`names` has layers that are not in the training net: {', '.join(unknown)}.{hint}")
    by_name = _rows_by_name(rows)
    for name, path in names.items():
        if isinstance(path, str) and path not in by_name:
            hint = did_you_mean(path, by_name)
            raise ValueError(f"`names` says that '{name}' is {path!r}, and the model has no such layer.{hint}")
    decisions: dict[int, Any] = {}
    for layer in _with_weights(layers):
        for row in _rows_of(layer, by_name, names):
            position = _position(layer, row)
            known = position < len(layer.parameters)
            parameter = layer.parameters[position] if known else _default_of(layer)
            axes = {"multiplier": parameter.lr_mult, "weight_decay_multiplier": parameter.decay_mult}
            earlier = decisions.setdefault(id(row.variable), (axes, [parameter.name]))
            if earlier[0] != axes:
                raise ValueError(
                    f"{row.path} belongs to two layers of the net with different multipliers: {earlier[1][0]} sets "
                    f"{earlier[0]}, {parameter.name} sets {axes}. Use `names` to say which layer is which."
                )
    return decisions


def _position(layer: CaffeLayer, row: Row) -> int:
    """The index of a variable's `param` in its layer: 0 for weights, 1 for the bias."""
    name = row.path.split("/")[-1]
    if layer.type == "LSTM":
        return _LSTM.get(name, 0)
    if layer.type == "Bias":  # it has no weights
        return 0
    return int(name == "beta" or name.endswith("bias"))


def _rows_by_name(rows: list[Row]) -> dict[str, dict[str, list[Row]]]:
    """Last part of a layer's path -> path -> the rows below it; with `/` and with `_`."""
    found: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        for path in (row.path, *row.aliases):
            parts = path.split("/")[:-1]
            for end in range(1, len(parts) + 1):
                for start in range(end):
                    name, whole = "/".join(parts[start:end]), "/".join(parts[:end])
                    for form in {name, name.replace("/", "_")}:
                        found.setdefault(form, {}).setdefault(whole, []).append(row)
    return found


def _rows_of(layer: CaffeLayer, by_name: dict[str, dict[str, list[Row]]], names: dict[str, Any]) -> list[Row]:
    """The rows of the matching Keras layer."""
    if isinstance(names.get(layer.name), keras.Layer):
        inside = set(map(id, names[layer.name].variables))
        everything = {id(row.variable): row for places in by_name.values() for rows in places.values() for row in rows}
        return [row for key, row in everything.items() if key in inside]
    for wanted in (names.get(layer.name), layer.name, layer.name.replace("/", "_"), layer.normalizes):
        places = by_name.get(wanted or "", {})
        places = {wanted: places[wanted]} if wanted in places else places
        if len({tuple(id(row.variable) for row in rows) for rows in places.values()}) > 1:
            raise ValueError(
                f"Several layers of the model match Caffe's '{layer.name}': {', '.join(places)}. Choose one: "
                f"names={{'{layer.name}': '{next(iter(places))}'}}."
            )
        if places:
            return next(iter(places.values()))
    return []
