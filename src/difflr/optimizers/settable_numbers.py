"""`SettableNumbers`: the multipliers and hyperparameters that can be set while training."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np

from difflr import keras_private
from difflr.plan import Plan
from difflr.plan.hyperparameters import Value
from difflr.plan.rows import MULTIPLIER
from difflr.text_table import counted

VECTOR = "numbers"  # its name among the optimizer's variables


class Entry(NamedTuple):
    """One number or schedule, and the variables that share it.

    Args:
        name: `"multiplier"`, or the hyperparameter.
        value: The number or schedule in the plan.
        positions: The positions of its variables in the list that the optimizer was built with.
        start: The optimizer's step from which a schedule counts.
    """

    name: str
    value: Value
    positions: tuple[int, ...]
    start: int = 0


class SettableNumbers:
    """Numbers of the compiled step that can be set: one vector of the optimizer's state, where 0 means "as planned".

    Setting one needs no recompiling, and a cleared state freezes nothing. It is one vector, as on JAX every array a step
    takes and returns costs microseconds. It has the multipliers themselves, and of hyperparameters the differences from the
    plan, as `keras_private.Number` needs them.

    Args:
        entries: The numbers.
        trainable: The variables that the optimizer was built with.
        optimizer: The optimizer.
    """

    def __init__(
        self, entries: Sequence[Entry], trainable: Sequence[keras.Variable], optimizer: keras.optimizers.Optimizer
    ):
        self.entries = entries
        self._trainable = trainable
        self.vector = optimizer.add_variable(
            shape=(len(entries),),
            initializer="zeros",
            dtype=keras.config.floatx(),
            aggregation="only_first_replica",
            name=VECTOR,
        )

    def changes(self) -> np.ndarray:
        """The vector now.

        Raises:
            RuntimeError: Between the batches of `fit` on JAX, which holds the values then.
        """
        if keras_private.is_away(self.vector):
            raise RuntimeError(
                "On JAX `fit` keeps the state to itself between batches. In a callback for batches call "
                "`self.model.jax_state_sync()` first, then read or set multipliers and hyperparameters."
            )
        return np.array(keras.ops.convert_to_numpy(self.vector))

    def changed(self) -> dict[int, dict[str, float]]:
        """The numbers that differ from the plan: identity of the variable -> name -> number."""
        found: dict[int, dict[str, float]] = {}
        for entry, change in zip(self.entries, self.changes(), strict=True):
            if change:
                number = change if entry.name == MULTIPLIER else np.float32(entry.value + float(change))
                shortest = float(str(number))  # that its precision allows
                for position in entry.positions:
                    found.setdefault(id(self._trainable[position]), {})[entry.name] = shortest
        return found

    def restore(self, numbers: Mapping[int, Mapping[str, float]]) -> list[int]:
        """Sets all numbers: those given, if all variables that share one have the same, and the others as planned.

        Args:
            numbers: Identity of the variable -> name -> number.

        Returns:
            The identities of the variables whose numbers were not restored.
        """
        changes, lost = np.zeros(len(self.entries)), []
        for place, entry in enumerate(self.entries):
            keys = [id(self._trainable[position]) for position in entry.positions]
            saved = {numbers.get(key, {}).get(entry.name) for key in keys}
            if len(saved) == 1 and not callable(entry.value):
                changes[place] = self._change(entry, saved.pop())
            else:
                lost += [key for key in keys if entry.name in numbers.get(key, {})]
        self.vector.assign(changes)
        return lost

    def set(self, numbers: Mapping[int, float]) -> None:
        """Sets some of the numbers.

        Args:
            numbers: The place of the entry -> number.
        """
        changes = self.changes().astype("float64")
        for place, number in numbers.items():
            changes[place] = self._change(self.entries[place], number)
        self.vector.assign(changes)

    def _change(self, entry: Entry, number: float | None) -> float:
        if number is None or number == entry.value:
            return 0.0
        return number if entry.name == MULTIPLIER else number - entry.value  # type: ignore[operator] # no schedule

    def places(self, name: str, variables: Sequence[keras.Variable], plan: Plan) -> list[int]:
        """The places of the entries of `variables`, which must be complete; none if the optimizer trains none of them.

        Args:
            name: The name of the entries.
            variables: All variables that share a number; frozen ones are ignored.
            plan: The plan in force.

        Raises:
            ValueError: If variables that share a number are left out.
        """
        chosen = set(map(id, variables))
        found = []
        for place, entry in enumerate(self.entries):
            sharing = [self._trainable[position] for position in entry.positions]
            named = [plan.row(variable).path for variable in sharing if id(variable) in chosen]
            if entry.name != name or not named:
                continue
            left_out = [plan.row(variable).path for variable in sharing if id(variable) not in chosen]
            if left_out:
                raise ValueError(
                    f"'{named[0]}' shares its {name} with {counted(len(left_out), 'variable')} not named: "
                    f"{', '.join(left_out[:4])}{', ...' if len(left_out) > 4 else ''}. Name them all, or give them "
                    "different numbers in the plan."
                )
            found.append(place)
        return found
