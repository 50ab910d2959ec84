"""The hyperparameters of groups in the step: numbers that can change, schedules, and clip norms."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

from difflr import keras_private
from difflr.plan import Group, Row
from difflr.plan.hyperparameters import Value, as_key, checked_hyperparameters
from difflr.plan.rows import grouped
from difflr.text_table import counted

Tensor: TypeAlias = Any  # one of the backend's


class Entry(NamedTuple):
    """One number or schedule, and its variables.

    Args:
        name: The hyperparameter.
        value: A number or a schedule.
        start: The optimizer's step from which a schedule counts.
        positions: The positions of its variables in the list that the optimizer was built with.
    """

    name: str
    value: Value
    start: int
    positions: tuple[int, ...]


class GroupHyperparameters:
    """The hyperparameters of an optimizer's groups.

    Schedules are computed inside the step. Changed numbers are kept in one vector of the optimizer's state, as differences
    from the plan, so that a change needs no recompiling. Without hyperparameters in the plan there is no vector.

    Args:
        groups: The groups.
        trainable: The trainable variables.
        rows: Their rows, in the same order.
        optimizer: The optimizer, built for them.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        trainable: Sequence[keras.Variable],
        rows: Sequence[Row],
        optimizer: keras.optimizers.Optimizer,
    ):
        self._trainable = list(trainable)
        self._optimizer = optimizer
        self._rows = list(rows)
        self._sets = _members([_update_key(group.rows[0]) for group in groups])  # the groups of each set
        self._first = [groups[numbers[0]].rows[0] for numbers in self._sets]
        self._entries = self._of_sets(groups) + self._of_norms()
        self.clips = any(entry.name == keras_private.CLIPNORM for entry in self._entries)
        sets = enumerate(zip(self._sets, self._first, strict=True))
        self.set_of = {number: n for n, (numbers, row) in sets for number in numbers if _update_values(row)}
        self.vector: keras.Variable | None = None
        self._positions: list[int] = []  # of the variables of this step's gradients, the same in all replicas
        if any(not callable(entry.value) for entry in self._entries):
            self.vector = optimizer.add_variable(
                shape=(len(self._entries),),
                initializer="zeros",
                dtype=keras.config.floatx(),
                aggregation="only_first_replica",
                name="hyperparameters",
            )

    def _of_sets(self, groups: Sequence[Group]) -> list[Entry]:
        place = {id(variable): position for position, variable in enumerate(self._trainable)}
        entries = []
        for numbers, row in zip(self._sets, self._first, strict=True):
            positions = tuple(place[id(member.variable)] for number in numbers for member in groups[number].rows)
            entries += [
                Entry(name, value, row.schedule_start, positions) for name, value in _update_values(row).items()
            ]
        return entries

    def _of_norms(self) -> list[Entry]:
        """One norm for all variables that get it from one rule, whatever their other settings."""
        name = keras_private.CLIPNORM
        having = [position for position, row in enumerate(self._rows) if name in row.hyperparameters]
        rows = [self._rows[position] for position in having]
        keys = [(row.decided.get(name), as_key({name: row.hyperparameters[name]}), row.schedule_start) for row in rows]
        return [
            Entry(
                name,
                rows[places[0]].hyperparameters[name],
                rows[places[0]].schedule_start,
                tuple(having[p] for p in places),
            )
            for places in _members(keys)
        ]

    def by_set(self) -> list[dict[str, Any]]:
        """The current hyperparameters of each set of groups that share them, by name."""
        values = iter(self._now([entry for entry in self._entries if entry.name != keras_private.CLIPNORM]))
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
        changes: Any = keras.ops.convert_to_tensor(self.vector) if self.vector is not None else None
        if on_torch:
            batches = int(batches) if any(callable(entry.value) for entry in entries) else 0
            changes = None if changes is None else changes.tolist()
        place = {id(entry): number for number, entry in enumerate(self._entries)}

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
        norms = [entry for entry in self._entries if entry.name == keras_private.CLIPNORM]
        if not norms:
            return grads
        place = {position: number for number, position in enumerate(self._positions)}
        for entry, value in zip(norms, self._now(norms), strict=True):
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
        entry = next(e for e in self._entries if e.name == name and position in e.positions)
        value = self._now([entry])[0]
        number = value.tensor if isinstance(value, keras_private.Number) else value
        return float(str(np.float32(keras.ops.convert_to_numpy(number))))

    # -- numbers that change --------------------------------------------------------------------------------------------

    def numbers(self) -> dict[int, dict[str, float]]:
        """The numbers that differ from the plan: identity of the variable -> name -> number."""
        found: dict[int, dict[str, float]] = {}
        for entry, change in zip(self._entries, self._changes(), strict=False):
            for position in entry.positions if change else ():
                number = float(str(np.float32(entry.value + change)))
                found.setdefault(id(self._trainable[position]), {})[entry.name] = number
        return found

    def _changes(self) -> np.ndarray:
        if self.vector is None:  # there are only schedules
            return np.zeros(len(self._entries))
        if keras_private.is_away(self.vector):
            raise RuntimeError(
                "On JAX `fit` keeps the state to itself between batches. In a callback for batches call "
                "`self.model.jax_state_sync()` first, then read or set hyperparameters."
            )
        return np.array(keras.ops.convert_to_numpy(self.vector)).astype("float64")

    def restore(self, numbers: Mapping[int, Mapping[str, float]]) -> list[int]:
        """Restores changed numbers, if all variables that share one had the same.

        Args:
            numbers: Identity of the variable -> name -> number.

        Returns:
            The identities of variables for which a number could not be restored.
        """
        changes, lost = self._changes(), []
        for place, entry in enumerate(self._entries):
            keys = [id(self._trainable[position]) for position in entry.positions]
            saved = {numbers.get(key, {}).get(entry.name) for key in keys}
            if len(saved) == 1 and not callable(entry.value):
                number = saved.pop()
                changes[place] = 0.0 if number is None else number - entry.value
            elif saved != {None}:
                lost += [key for key in keys if entry.name in numbers.get(key, {})]
        if self.vector is not None:
            self.vector.assign(changes)
        return lost

    def set(self, name: str, variables: Sequence[keras.Variable], value: float) -> None:
        """Sets a hyperparameter of `variables`.

        Args:
            name: The hyperparameter.
            variables: All variables that share the number; frozen ones are ignored.
            value: The number.

        Raises:
            KeyError: If the plan sets it for none of them.
            ValueError: If it has a schedule, cannot change, or variables that share it are left out.
        """
        number = checked_hyperparameters({name: value})[name]
        chosen = set(map(id, variables))
        found = [
            (place, entry)
            for place, entry in enumerate(self._entries)
            if entry.name == name and any(id(self._trainable[position]) in chosen for position in entry.positions)
        ]
        if not found:
            raise KeyError(
                f"The plan sets no '{name}' for these variables, so it is a constant of the compiled step. "
                f"Set it in the plan: difflr.Rule(..., hyperparameters={{'{name}': ...}})."
            )
        why = keras_private.why_constant(self._optimizer, name)
        if number is None or why or any(callable(entry.value) for _, entry in found):
            reason = why or ("it has a schedule" if number is not None else "None is not a number")
            raise ValueError(
                f"'{name}' cannot be set while training: {reason}. Make another plan: difflr.replan(model, plan)."
            )
        left_out = [self._rows[p].path for _, e in found for p in e.positions if id(self._trainable[p]) not in chosen]
        if left_out:
            raise ValueError(
                f"They share their '{name}' with {counted(len(left_out), 'variable')} not named: {', '.join(left_out[:4])}"
                f"{', ...' if len(left_out) > 4 else ''}. Name them all, or give them different numbers in the plan."
            )
        changes = self._changes()
        for place, entry in found:
            changes[place] = number - entry.value  # type: ignore[operator] # a number: schedules were refused
        self.vector.assign(changes)  # type: ignore[union-attr]


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
