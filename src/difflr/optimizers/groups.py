"""The plan at work: one scalar per group of variables."""

import operator
from collections.abc import Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers import state_layout
from difflr.optimizers.newcomer import Newcomer
from difflr.plan import Plan, Row
from difflr.plan.rule import checked_multiplier

EFFECTIVE_RATE = "effective_rate"


class Members:
    """To which groups the variables of one list belong.

    Args:
        variables: The list.
        positions: Their positions in the list that the optimizer was built with.
        numbers: The numbers of their groups.
    """

    def __init__(self, variables: list[Any], positions: list[int], numbers: list[int]):
        self.variables = variables
        self.positions = positions
        self.numbers = numbers
        self.by_group: dict[int, list[int]] = {}
        for place, number in enumerate(numbers):
            self.by_group.setdefault(number, []).append(place)


class Groups:
    """The plan at work: for each live variable its group, for each group one scalar in the optimizer's state.

    One scalar variable per group, passed as state, compiles on XLA like a single rate; a constant per variable, or a
    vector indexed per variable, takes 5 to 15 times as long (150 variables, JAX on a CPU). As part of the state the
    numbers are saved and can change without recompiling.
    """

    def __init__(self, plan: Plan, live: list[Any], optimizer: Any, numbers: list[float] | None = None):
        present = set(map(id, live))
        self.plan = plan
        self.live = live
        self._optimizer = optimizer
        self._groups = [group for group in plan.groups if any(id(row.variable) in present for row in group.rows)]
        number_of = {id(row.variable): number for number, group in enumerate(self._groups) for row in group.rows}
        self._number_at = [number_of[id(variable)] for variable in live]
        self._number_of = {id(variable): number for variable, number in zip(live, self._number_at, strict=True)}
        numbers = numbers or [group.multiplier for group in self._groups]
        if len(numbers) != len(self._groups):
            raise ValueError(f"The saved plan has {len(self._groups)} groups and multipliers for {len(numbers)}.")
        self._frozen = {id(row.variable) for row in plan.rows if row.frozen}
        self.any_frozen = bool(self._frozen)
        self._schedules = {n: group.schedule for n, group in enumerate(self._groups) if group.schedule is not None}
        self._last: Members | None = None
        self._stacked: Any = None
        self.weight_decay_multipliers = [group.weight_decay_multiplier for group in self._groups]
        self.scalars = [
            optimizer.add_variable(
                shape=(),
                initializer=keras.initializers.Constant(multiplier),
                dtype=keras.config.floatx(),
                aggregation="only_first_replica",
                name=f"multiplier_{number}",
            )
            for number, (_, multiplier) in enumerate(zip(self._groups, numbers, strict=True))
        ]

    def of(self, position: int) -> int:
        """The number of the group of the live variable at `position`."""
        return self._number_at[position]

    def is_frozen(self, variable: Any) -> bool:
        """Whether the plan freezes `variable`."""
        return id(variable) in self._frozen

    def rate_factors(self, for_decay: bool = False) -> dict[int, Any]:
        """The factors on the base rate at this step: group number -> scalar tensor.

        Args:
            for_decay: Whether they are for the weight decay, which has no part in the bias correction of newcomers.
        """
        factors = dict(enumerate(map(keras.ops.convert_to_tensor, self.scalars)))
        for number, schedule in self._schedules.items():
            if for_decay and isinstance(schedule, Newcomer):
                schedule = schedule.for_weight_decay
            now = schedule(self._optimizer.iterations)
            factors[number] = factors[number] * keras.ops.cast(now, factors[number].dtype)
        return factors

    def factors(self, for_decay: bool = False) -> Any:
        """The same as one tensor `(groups,)`: for torch's passes."""
        import torch  # `keras.ops.stack` takes 7 microseconds for each of its tensors

        if self._schedules:
            return torch.stack(list(self.rate_factors(for_decay).values()))
        scalars = keras_private.torch_values(self.scalars)
        versions = [scalar._version for scalar in scalars]  # what is assigned to a tensor counts in it
        if self._stacked is None or self._stacked[0] != versions or not same(self._stacked[1], scalars):
            self._stacked = versions, scalars, torch.stack(scalars)
        return self._stacked[2]

    def decay_factors(self) -> Any:
        """The factors of the weight decay of all groups, likewise."""
        factors = self.factors(for_decay=True)
        multipliers = factors.new_tensor(self.weight_decay_multipliers)
        return multipliers * factors if self._optimizer.weight_decay_follows == EFFECTIVE_RATE else multipliers

    def members(self, variables: Sequence[Any]) -> "Members":
        """The groups of `variables`, some or all of the live ones in any order."""
        members = self._last
        if members is None or not same(members.variables, variables):
            positions = [self._optimizer._variable_position(variable) for variable in variables]
            members = Members(list(variables), positions, [self._number_at[position] for position in positions])
            self._last = members
        return members

    def current(self, row: Row) -> float:
        """The multiplier of a live row now."""
        if id(row.variable) not in self._number_of:
            return row.multiplier
        return self._read(self._number_of[id(row.variable)], row.multiplier)

    def numbers(self) -> list[float]:
        """The multiplier of each group now."""
        return [self._read(number, group.multiplier) for number, group in enumerate(self._groups)]

    def _read(self, number: int, planned: float) -> float:
        scalar = self.scalars[number]
        if keras_private.is_away(scalar):
            raise RuntimeError(
                "On JAX `fit` keeps the state to itself between batches. In a callback for batches call "
                "`self.model.jax_state_sync()` first, then read or set multipliers."
            )
        return _shortest(keras.ops.convert_to_numpy(scalar), planned)

    def layout(self) -> state_layout.Layout:
        """Of which variables the state is."""
        rows = self.plan.rows
        return state_layout.layout(rows, [self._number_of.get(id(row.variable), -1) for row in rows])

    def set(self, target: Any, value: Any) -> None:
        """Sets the multiplier of the groups that make up `target`."""
        multiplier = checked_multiplier(value, "multiplier")
        if multiplier == 0:
            raise ValueError(
                "A multiplier of 0 freezes, which changes what is compiled. Make a plan with difflr.FROZEN and "
                "compile the model again."
            )
        variables = target.trainable_variables if isinstance(target, keras.Layer) else [target]
        chosen = {id(variable) for variable in variables}
        positions = [p for p, variable in enumerate(self.live) if id(variable) in chosen]
        if not positions:
            name = self.plan.row(target).path if target in self.plan else getattr(target, "path", target)
            raise KeyError(f"The optimizer trains no variable of {name}: it is frozen, or belongs to another model.")
        for number in dict.fromkeys(self._number_at[p] for p in positions):
            left_out = [
                self.plan.row(variable).path
                for p, variable in enumerate(self.live)
                if self._number_at[p] == number and p not in positions
            ]
            if left_out:
                raise ValueError(
                    f"'{self.plan.row(self.live[positions[0]]).path}' shares its multiplier with "
                    f"{len(left_out)} variables that were not named: {', '.join(left_out[:4])}"
                    f"{', ...' if len(left_out) > 4 else ''}. Name them all, or give them different numbers in the "
                    "plan."
                )
        for number in dict.fromkeys(self._number_at[p] for p in positions):
            self.scalars[number].assign(multiplier)


def same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether both hold the same objects."""
    return len(first) == len(second) and all(map(operator.is_, first, second))


def _shortest(number: Any, planned: float) -> float:
    """A stored number as a float: the planned one where it is still that, else as short as its precision allows."""
    if number == number.dtype.type(planned):
        return planned
    return float(str(number))
