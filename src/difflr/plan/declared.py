"""Multipliers that layers declare: rules saved with the model."""

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from difflr import keras_private

_STAMP = "_difflr_declared_by"
_made_of_layers: weakref.WeakSet[Any] = weakref.WeakSet()  # declaring layers with sublayers, such as attention


class _Declarers:
    """The layers that declare a multiplier for a variable, as weak references.

    Stored on the variable because an optimizer is built from a list of variables and never sees the model. A copy starts
    empty: it belongs to another layer, which records itself.
    """

    def __init__(self) -> None:
        self.layers: weakref.WeakSet[Any] = weakref.WeakSet()

    def __reduce__(self) -> tuple[type, tuple]:
        return _Declarers, ()


def stamp(variables: Iterable[keras.Variable], layer: keras.Layer) -> None:
    """Record on `variables` that `layer` declares multipliers, found in its property `multipliers`.

    Args:
        variables: Variables of the layer and of layers inside it.
        layer: The layer.
    """
    if keras_private.sublayers(layer):
        _made_of_layers.add(layer)
    for variable in variables:
        if not hasattr(variable, _STAMP):
            setattr(variable, _STAMP, _Declarers())
        getattr(variable, _STAMP).layers.add(layer)


def declaring_layers(variables: Iterable[keras.Variable | None]) -> list[keras.Layer]:
    """The layers that declare multipliers and own one of `variables`, ordered by name."""
    variables = list(variables)
    if any(_is_new_lora(variable) for variable in variables):
        for layer in list(_made_of_layers):
            stamp(layer.multipliers, layer)
    stamps = [getattr(variable, _STAMP, None) for variable in variables]
    found = {id(layer): layer for stamped in stamps if stamped for layer in list(stamped.layers)}
    return sorted(found.values(), key=lambda layer: layer.name)


def _is_new_lora(variable: keras.Variable | None) -> bool:
    """Whether it may belong to a sublayer of a declaring layer, unrecorded: `enable_lora` does not notify it."""
    name = getattr(variable, "name", "")
    return isinstance(name, str) and name.startswith("lora_") and not hasattr(variable, _STAMP)


def declared_multipliers(variables: Sequence[keras.Variable | None]) -> dict[int, tuple[float, str]]:
    """The multipliers that layers declare for `variables`.

    Args:
        variables: Variables of one model, `None` where nothing can be declared.

    Returns:
        Position in `variables` -> `(multiplier, name of the layer)`, only for declared multipliers.

    Raises:
        ValueError: If two layers declare different multipliers for one variable.
    """
    positions = {id(variable): position for position, variable in enumerate(variables) if variable is not None}
    found: dict[int, tuple[float, str]] = {}
    for layer in declaring_layers(variables):
        for variable, multiplier in layer.multipliers.items():
            position = positions.get(id(variable))
            if position is None:
                continue
            known = found.get(position)
            if known and known[0] != multiplier:
                raise ValueError(
                    f"Two layers declare different multipliers for the variable {variable.path}: "
                    f"'{known[1]}' declares {known[0]}, '{layer.name}' declares {multiplier}. "
                    "A shared weight has one rate: declare it in one layer, or equally in both."
                )
            found.setdefault(position, (multiplier, layer.name))
    return found
