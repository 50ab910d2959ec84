"""`VariableMapping`: a `dict` keyed by variables, which are not hashable."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras

from difflr.checks import did_you_mean, listed


class VariableMapping(Mapping):
    """A read-only mapping with Keras variables as keys, compared by identity.

    `keras.Variable` cannot be a `dict` key: its `==` is elementwise, so it is unhashable. This mapping
    accepts variables as keys and prints their paths.

    Args:
        items: Pairs `(variable, value)`, or another mapping of variables. If a variable appears twice,
            the later value wins, as in a `dict`.
        paths: Function `variable -> str` that prints a key. Defaults to `variable.path`.

    Raises:
        TypeError: If a key is not a `keras.Variable`.
        KeyError: On lookup of a variable that is not in the mapping. The message lists those that are.

    Example:

    ```python
    import keras
    import difflr

    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    mapping = difflr.VariableMapping([(layer.kernel, 0.1), (layer.bias, 0.2)])
    assert mapping[layer.kernel] == 0.1
    ```
    """

    def __init__(self, items: Any = (), paths: Any = None):
        self._paths = paths or (lambda variable: variable.path)
        pairs = items.items() if isinstance(items, Mapping) else items
        self._items: dict[int, tuple[keras.Variable, Any]] = {}
        for variable, value in pairs:
            if not isinstance(variable, keras.Variable):
                raise TypeError(
                    "The keys of a VariableMapping are Keras variables, such as `layer.kernel`. "
                    f"Received: {variable!r} (of type {type(variable).__name__})."
                )
            self._items[id(variable)] = (variable, value)

    def __getitem__(self, variable: keras.Variable) -> Any:
        if id(variable) not in self._items:
            known = [self._paths(key) for key in self]
            name = variable if isinstance(variable, str) else getattr(variable, "path", repr(variable))
            raise KeyError(
                f"{name} is not in this mapping, which contains: {listed(known) or 'nothing'}.{did_you_mean(name, known)}"
            )
        return self._items[id(variable)][1]

    def __iter__(self) -> Iterator[keras.Variable]:
        return (variable for variable, _ in self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, variable: object) -> bool:
        return id(variable) in self._items

    def items(self) -> Iterable[tuple[keras.Variable, Any]]:  # type: ignore[override]
        """The pairs `(variable, value)`, in order."""
        return list(self._items.values())

    def values(self) -> Iterable[Any]:  # type: ignore[override]
        """The values, in the order of the variables: a list, which can be compared."""
        return [value for _, value in self._items.values()]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VariableMapping):
            return NotImplemented
        own = {key: value for key, (_, value) in self._items.items()}
        return own == {key: value for key, (_, value) in other._items.items()}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inside = ", ".join(f"{self._paths(variable)}: {value!r}" for variable, value in self.items())
        return "{" + inside + "}"
