"""What layers declare about themselves: rules that travel with the model."""

import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import keras

_STAMP = "_difflr_declared_by"


class _Declarers:
    """The layers that declare something for a variable. Weak: a variable keeps no layer alive.

    Stamped on the variable, as an optimizer is built from a list of variables and never sees the model. A copy begins
    empty: it belongs to another layer, which stamps it.
    """

    def __init__(self) -> None:
        self.layers: weakref.WeakSet[Any] = weakref.WeakSet()

    def __reduce__(self) -> tuple[type, tuple]:
        return _Declarers, ()


def stamp(variables: Iterable[keras.Variable], layer: keras.Layer) -> None:
    """Notes on `variables` that `layer` declares multipliers, which its property `multipliers` tells.

    Args:
        variables: Variables of the layer, and of layers inside it.
        layer: The layer.
    """
    for variable in variables:
        if not hasattr(variable, _STAMP):
            setattr(variable, _STAMP, _Declarers())
        getattr(variable, _STAMP).layers.add(layer)


def declaring_layers(variables: Iterable[keras.Variable | None]) -> list[keras.Layer]:
    """The layers that declare multipliers and own one of `variables`, in the order of their names."""
    stamps = [getattr(variable, _STAMP, None) for variable in variables]
    found = {id(layer): layer for stamped in stamps if stamped for layer in list(stamped.layers)}
    return sorted(found.values(), key=lambda layer: layer.name)


def declared_multipliers(variables: Sequence[keras.Variable | None]) -> dict[int, tuple[float, str]]:
    """What layers declare for `variables`.

    Args:
        variables: Variables of one model, `None` where there is nothing to declare.

    Returns:
        Position in `variables` -> `(multiplier, name of the layer)`, only where something is declared.

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
                    "A shared weight has one rate: declare it in one layer, or the same in both."
                )
            found.setdefault(position, (multiplier, layer.name))
    return found
