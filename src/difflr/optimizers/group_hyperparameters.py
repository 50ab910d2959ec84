"""The hyperparameters of groups in the step: numbers that can change, schedules, and clip norms."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from difflr import keras_private
from difflr.optimizers.settable_numbers import Entry, SettableNumbers
from difflr.plan import Plan, Row
from difflr.plan.hyperparameters import Value, as_key, checked_hyperparameters
from difflr.plan.rows import grouped

Tensor: TypeAlias = Any  # one of the backend's


class GroupHyperparameters:
    """The hyperparameters of an optimizer's groups.

    Schedules are computed inside the step.

    Args:
        groups: For each group the positions of its variables in `trainable`.
        rows: The rows of the trainable variables.
        trainable: The trainable variables.
        optimizer: The optimizer, built for them.
    """

    def __init__(
        self,
        groups: Sequence[Sequence[int]],
        rows: Sequence[Row],
        trainable: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
    ):
        self._trainable = trainable
        self._optimizer = optimizer
        sets = _members([_update_key(rows[positions[0]]) for positions in groups])  # the groups of each set
        self._first = [rows[groups[numbers[0]][0]] for numbers in sets]
        of_updates = [
            Entry(name, value, tuple(p for number in numbers for p in groups[number]), row.schedule_start)
            for numbers, row in zip(sets, self._first, strict=True)
            for name, value in _update_values(row).items()
        ]
        self._of_updates, self._norms = of_updates, _norms(rows)
        self.clips = bool(self._norms)
        self.entries = [*self._of_updates, *self._norms]
        self.set_of = {
            number: n
            for n, (numbers, row) in enumerate(zip(sets, self._first, strict=True))
            for number in numbers
            if _update_values(row)
        }
        self._positions: list[int] = []  # of the variables of this step's gradients, the same in all replicas
        self.settable: SettableNumbers  # theirs and the multipliers, once `Groups` has made it

    def by_set(self) -> list[dict[str, Any]]:
        """The current hyperparameters of each set of groups that share them, by name."""
        values = iter(self._now(self._of_updates))
        return [{name: next(values) for name in _update_values(row)} for row in self._first]

    def by_group(self) -> dict[int, dict[str, Any]]:
        """The same by group number, for groups with hyperparameters."""
        sets = self.by_set() if self.set_of else []
        return {number: sets[n] for number, n in self.set_of.items()}

    def _now(self, entries: Sequence[Entry]) -> list[Any]:
        """The values of `entries` at this step."""
        accumulation = self._optimizer.gradient_accumulation_steps or 1
        batches = keras_private.clock(self._optimizer)  # a schedule counts them, as Keras's do
        on_torch = keras.backend.backend() == "torch"  # which takes numbers only
        changes: Any = keras.ops.convert_to_tensor(self.settable.vector) if entries else None
        if on_torch:
            batches = int(batches) if any(callable(entry.value) for entry in entries) else 0
            changes = changes.tolist() if entries else None
        place = {id(entry): number for number, entry in enumerate(self.settable.entries)}

        def now(entry: Entry) -> Any:
            if callable(entry.value):
                value = entry.value(batches - entry.start * accumulation)
                number = float(value) if on_torch else keras_private.Number(0.0, as_float(value))
            else:
                change = changes[place[id(entry)]]
                number = entry.value + change if on_torch else keras_private.Number(entry.value, change)
            return number if on_torch else keras_private.in_step(self._optimizer, entry.name, number)

        return [now(entry) for entry in entries]

    def begin(self, positions: list[int]) -> None:
        """Records the positions of the variables of this step's gradients, for clip norms."""
        self._positions = positions

    def clipped(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients, clipped by the norms of the rules.

        Args:
            grads: Gradients of the variables passed to `begin`; `None` stays `None`.
        """
        grads = list(grads)
        if not self.clips:
            return grads
        place = {position: number for number, position in enumerate(self._positions)}
        for entry, value in zip(self._norms, self._now(self._norms), strict=True):
            inside = [place[position] for position in entry.positions if position in place]
            inside = [number for number in inside if grads[number] is not None]
            norm = value.tensor if isinstance(value, keras_private.Number) else value
            clipped = keras_private.clipped_together([grads[number] for number in inside], norm) if inside else []
            for number, gradient in zip(inside, clipped, strict=True):
                grads[number] = gradient
        return grads

    def value_of(self, name: str, variable: keras.Variable) -> float:
        """A variable's hyperparameter at this step.

        Args:
            name: A hyperparameter that the plan sets for it.
            variable: A trainable variable.
        """
        position = next(n for n, known in enumerate(self._trainable) if known is variable)
        entry = next(e for e in self.entries if e.name == name and position in e.positions)
        value = self._now([entry])[0]
        number = value.tensor if isinstance(value, keras_private.Number) else value
        return float(str(np.float32(keras.ops.convert_to_numpy(number))))

    def set(self, name: str, variables: Sequence[keras.Variable], value: float, plan: Plan) -> None:
        """Sets a hyperparameter of `variables`.

        Args:
            name: The hyperparameter.
            variables: All variables that share the number; frozen ones are ignored.
            value: The number.
            plan: The plan in force.

        Raises:
            KeyError: If the plan sets it for none of them.
            ValueError: If it has a schedule, cannot change, or variables that share it are left out.
        """
        number = checked_hyperparameters({name: value})[name]
        places = self.settable.places(name, variables, plan)
        if not places:
            raise KeyError(
                f"The plan sets no '{name}' for these variables, so it is a constant of the compiled step. "
                f"Set it in the plan: difflr.Rule(..., hyperparameters={{'{name}': ...}})."
            )
        why = keras_private.why_constant(self._optimizer, name)
        if number is None or why or any(callable(self.settable.entries[place].value) for place in places):
            reason = why or ("it has a schedule" if number is not None else "None is not a number")
            raise ValueError(
                f"'{name}' cannot be set while training: {reason}. Make another plan: difflr.replan(model, plan)."
            )
        self.settable.set(dict.fromkeys(places, number))  # type: ignore[arg-type] # schedules were refused


def _norms(rows: Sequence[Row]) -> list[Entry]:
    """One norm for all variables that get it from one rule, whatever their other settings."""
    name = keras_private.CLIPNORM
    having = [position for position, row in enumerate(rows) if name in row.hyperparameters]
    members = grouped(having, lambda position: rows[position].sharing(name))
    firsts = [(rows[positions[0]], tuple(positions)) for positions in members.values()]
    return [Entry(name, row.hyperparameters[name], positions, row.schedule_start) for row, positions in firsts]


def _update_key(row: Row) -> tuple[str, int]:
    """Equal for rows that are updated with the same hyperparameters."""
    values = _update_values(row)
    return as_key(values), row.schedule_start if any(map(callable, values.values())) else 0


def _update_values(row: Row) -> dict[str, Value]:
    """The hyperparameters of the update itself: all but the clip norm."""
    return {name: value for name, value in row.hyperparameters.items() if name != keras_private.CLIPNORM}


def _members(keys: Sequence[Any]) -> list[list[int]]:
    """The positions of equal keys, grouped, in order of first appearance."""
    return list(grouped(range(len(keys)), keys.__getitem__).values())


def as_float(value: Any) -> Tensor:
    """The value of a schedule as a tensor of Keras's float type."""
    return keras.ops.cast(value, keras.config.floatx())


NO_HYPERPARAMETERS = GroupHyperparameters([], [], [], None)  # type: ignore[arg-type] # of plans without any
