"""What layers declare about themselves: rules that travel with the model."""

import threading
import weakref
from collections.abc import Sequence
from typing import Any

import keras

# Every living layer that declares a multiplier. An optimizer is built from a list of variables and never sees the
# model; this is how it finds the layers behind them. Weak: it keeps no layer alive.
_DECLARING: "weakref.WeakSet[Any]" = weakref.WeakSet()


# Models may be built in several threads: a set must not grow while another thread goes through it.
_LOCK = threading.Lock()


def remember(layer: keras.Layer) -> None:
    """Notes that `layer` declares multipliers (it has a property `multipliers`)."""
    with _LOCK:
        _DECLARING.add(layer)


def layers() -> list[keras.Layer]:
    """Every living layer that declares a multiplier."""
    with _LOCK:
        return list(_DECLARING)


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
    for layer in sorted(layers(), key=lambda layer: layer.name):
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
