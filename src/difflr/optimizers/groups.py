"""The plan at work: one number per group of variables."""

import operator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import checked_multiplier
from difflr.optimizers import saved_state
from difflr.optimizers.late_start import LateStart
from difflr.optimizers.unstack import Tensor, stack
from difflr.plan import Plan

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
    """The plan at work: for each trainable variable its group, for each group a number in one vector of the optimizer's state.

    As part of the state the numbers are saved and can change without recompiling; a constant for each variable would take
    XLA 5 to 15 times as long to compile. One vector, and not a scalar for each group: on JAX every array that a step
    takes and returns costs some microseconds.
    """

    def __init__(self, plan: Plan, trainable: list[Any], optimizer: Any, numbers: list[float] | None = None):
        present = set(map(id, trainable))
        self.plan = plan
        self.trainable = trainable
        self._optimizer = optimizer
        self._groups = [group for group in plan.groups if any(id(row.variable) in present for row in group.rows)]
        number_of = {id(row.variable): number for number, group in enumerate(self._groups) for row in group.rows}
        self._number_at = [number_of[id(variable)] for variable in trainable]
        self._number_of = {id(variable): number for variable, number in zip(trainable, self._number_at, strict=True)}
        numbers = numbers or [group.multiplier for group in self._groups]
        if len(numbers) != len(self._groups):
            raise ValueError(f"The saved plan has {len(self._groups)} groups and multipliers for {len(numbers)}.")
        self._frozen = {id(row.variable) for row in plan.rows if row.frozen}
        self.any_frozen = bool(self._frozen)
        self._schedules = {n: group.schedule for n, group in enumerate(self._groups) if group.schedule is not None}
        self._last: Members | None = None
        self.weight_decay_multipliers = [group.weight_decay_multiplier for group in self._groups]
        self.vector = optimizer.add_variable(
            shape=(len(numbers),),
            initializer=lambda shape, dtype: keras.ops.convert_to_tensor(numbers, dtype),
            dtype=keras.config.floatx(),
            aggregation="only_first_replica",
            name="multipliers",
        )

    def of(self, position: int) -> int:
        """The number of the group of the trainable variable at `position`."""
        return self._number_at[position]

    def is_frozen(self, variable: Any) -> bool:
        """Whether the plan freezes `variable`."""
        return id(variable) in self._frozen

    def factors(self) -> Tensor:
        """What the base rate of each group is multiplied by at this step, a tensor `(groups,)`."""
        return self._factors(for_decay=False)

    def decay_factors(self) -> Tensor:
        """The same for the weight decay of each group; 0 for a group that does not decay."""
        multipliers = self.weight_decay_multipliers
        if self._optimizer.weight_decay_follows != EFFECTIVE_RATE:
            return keras.ops.convert_to_tensor(multipliers, keras.config.floatx())
        factors = self._factors(for_decay=True)
        if set(multipliers) == {1.0}:
            return factors
        return factors * keras.ops.convert_to_tensor(multipliers, keras.config.floatx())

    def _factors(self, for_decay: bool) -> Tensor:
        """The multipliers, times the groups' own schedules.

        Args:
            for_decay: Whether they are for the weight decay, which has no part in the bias correction of variables that
                were unfrozen late.
        """
        vector = keras_private.values([self.vector])[0]
        if not self._schedules:
            return vector
        clock, dtype = keras_private.clock(self._optimizer), keras.config.floatx()
        now = [keras.ops.ones((), dtype)] * len(self._groups)
        for number, schedule in self._schedules.items():
            if for_decay and isinstance(schedule, LateStart):
                schedule = schedule.for_weight_decay
            now[number] = keras.ops.cast(schedule(clock), dtype)
        return vector * stack(now)

    def members(self, variables: Sequence[keras.Variable]) -> "Members":
        """The groups of `variables`, some or all of the trainable ones in any order."""
        members = self._last
        if members is None or not same(members.variables, variables):
            positions = [keras_private.position(self._optimizer, variable) for variable in variables]
            members = Members(list(variables), positions, [self._number_at[position] for position in positions])
            self._last = members
        return members

    def current(self) -> dict[int, float]:
        """The multiplier of each trainable variable now, by its identity."""
        numbers = self.numbers()
        return {key: numbers[number] for key, number in self._number_of.items()}

    def numbers(self) -> list[float]:
        """The multiplier of each group now."""
        planned = [group.multiplier for group in self._groups]
        return [_shortest(number, each) for number, each in zip(self._now(), planned, strict=True)]

    def _now(self) -> np.ndarray:
        if keras_private.is_away(self.vector):
            raise RuntimeError(
                "On JAX `fit` keeps the state to itself between batches. In a callback for batches call "
                "`self.model.jax_state_sync()` first, then read or set multipliers."
            )
        return np.array(keras.ops.convert_to_numpy(self.vector))

    def layout(self) -> saved_state.Layout:
        """Of which variables the state is."""
        rows = self.plan.rows
        return saved_state.layout(rows, [self._number_of.get(id(row.variable), -1) for row in rows])

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
        positions = [p for p, variable in enumerate(self.trainable) if id(variable) in chosen]
        if not positions:
            name = self.plan.row(target).path if target in self.plan else getattr(target, "path", target)
            raise KeyError(f"The optimizer trains no variable of {name}: it is frozen, or belongs to another model.")
        for number in dict.fromkeys(self._number_at[p] for p in positions):
            left_out = [
                self.plan.row(variable).path
                for p, variable in enumerate(self.trainable)
                if self._number_at[p] == number and p not in positions
            ]
            if left_out:
                raise ValueError(
                    f"'{self.plan.row(self.trainable[positions[0]]).path}' shares its multiplier with "
                    f"{len(left_out)} variables that were not named: {', '.join(left_out[:4])}"
                    f"{', ...' if len(left_out) > 4 else ''}. Name them all, or give them different numbers in the "
                    "plan."
                )
        check_held([multiplier], [self.plan.row(self.trainable[positions[0]]).path])
        numbers = self._now()
        numbers[[self._number_at[p] for p in positions]] = multiplier
        self.vector.assign(numbers)


def check_held(numbers: Sequence[float], paths: Sequence[str]) -> None:
    """Checks that the multipliers are numbers in Keras's float type too, in which they are kept and multiplied.

    Args:
        numbers: Multipliers above 0.
        paths: Whose, for the error.

    Raises:
        ValueError: If one would become 0, or infinite.
    """
    floatx = keras.config.floatx()
    limits = np.finfo("float32" if floatx == "bfloat16" else floatx)  # both have the same exponents
    lowest, highest = float(limits.smallest_subnormal), float(limits.max)
    for number, path in zip(numbers, paths, strict=True):
        if not lowest <= number <= highest:
            raise ValueError(
                f"The multiplier of {path} is {number:g}, and {floatx} holds numbers from {lowest:.2g} to {highest:.2g}: it "
                f"would be {'infinite' if number > 1 else '0, without effect'}. To freeze, use difflr.FROZEN."
            )


def same(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether both hold the same objects."""
    return len(first) == len(second) and all(map(operator.is_, first, second))


def _shortest(number: Any, planned: float) -> float:
    """A stored number as a float: the planned one where it is still that, else as short as its precision allows."""
    if number == number.dtype.type(planned):
        return planned
    return float(str(number))
