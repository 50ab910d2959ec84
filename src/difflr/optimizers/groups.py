"""The groups of a plan in the step: one multiplier per group."""

import operator
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import checked_multiplier
from difflr.optimizers.group_hyperparameters import NO_HYPERPARAMETERS, GroupHyperparameters
from difflr.optimizers.settable_numbers import Entry, SettableNumbers
from difflr.optimizers.state_by_place import NO_START, LateStart
from difflr.plan import Plan
from difflr.plan.rows import MULTIPLIER, grouped

EFFECTIVE_RATE = "effective_rate"
Tensor: TypeAlias = Any  # one of the backend's


class Members:
    """The groups of the variables of one list.

    Args:
        variables: The list.
        positions: Their positions in the list that the optimizer was built with.
        numbers: The numbers of their groups.
    """

    def __init__(self, variables: list[Any], positions: list[int], numbers: list[int]):
        self.variables = variables
        self.positions = positions
        self.numbers = numbers
        self.by_group: dict[int, list[int]] = grouped(range(len(numbers)), numbers.__getitem__)


class Groups:
    """The group of each trainable variable, and the multiplier of each group.

    Variables with equal settings and the same late start form a group. The planned multipliers are constants of the
    compiled step: one constant per variable would make XLA compile 5 to 15 times as long.

    Args:
        plan: The plan.
        trainable: The trainable variables.
        optimizer: The optimizer, built for them.
        starts: The late starts of newly unfrozen variables: place -> start.
    """

    def __init__(
        self,
        plan: Plan,
        trainable: Sequence[keras.Variable],
        optimizer: keras.optimizers.Optimizer,
        starts: Mapping[str, LateStart],
    ):
        self.plan = plan
        self.trainable = list(trainable)
        self._optimizer = optimizer
        rows = list(map(plan.row, self.trainable))
        members: dict[Any, list[int]] = {}
        for position, row in enumerate(rows):
            members.setdefault((row.setting, starts.get(row.place, NO_START)), []).append(position)
        self._starts = [start for _, start in members]
        self._rows = [rows[positions[0]] for positions in members.values()]  # the first of each group
        number_of = {position: number for number, group in enumerate(members.values()) for position in group}
        self._number_at = [number_of[position] for position in range(len(rows))]
        self._frozen = {id(row.variable) for row in plan.rows if row.frozen}
        self.any_frozen = bool(self._frozen)
        self._last: dict[int, Members] = {}
        self.weight_decay_multipliers = [row.weight_decay_multiplier for row in self._rows]
        self._planned = [row.multiplier for row in self._rows]
        self._planned_on_torch: Tensor = None
        self._changes_over_time = any(row.schedule is not None for row in self._rows)
        self._changes_over_time |= any(start != NO_START for start in self._starts)
        entries = [
            Entry(MULTIPLIER, number, tuple(positions))
            for number, positions in zip(self._planned, members.values(), strict=True)
        ]
        self.hyperparameters = NO_HYPERPARAMETERS
        if any(row.hyperparameters for row in self._rows):
            self.hyperparameters = GroupHyperparameters(list(members.values()), rows, self.trainable, optimizer)
        self.settable = SettableNumbers([*entries, *self.hyperparameters.entries], self.trainable, optimizer)
        if self.hyperparameters.entries:
            self.hyperparameters.settable = self.settable

    def of(self, position: int) -> int:
        """The number of the group of the trainable variable at `position`."""
        return self._number_at[position]

    def is_frozen(self, variable: Any) -> bool:
        """Whether the plan freezes `variable`."""
        return id(variable) in self._frozen

    def factors_by_group(self, for_decay: bool = False) -> dict[int, Tensor]:
        """The factor on the rate of each group at this step: group number -> factor.

        Args:
            for_decay: Whether they are for the weight decay; then of the groups that decay.
        """
        factors = enumerate(unstack(self.factors(for_decay)))
        return {number: factor for number, factor in factors if self.weight_decay_multipliers[number] or not for_decay}

    def floors(self, for_decay: bool = False) -> dict[int, Tensor]:
        """The floors of the rates, lowered during a warm-up: group number -> rate.

        Args:
            for_decay: Whether they are for the weight decay.
        """
        if for_decay and self._optimizer.weight_decay_follows != EFFECTIVE_RATE:
            return {}
        shares = self.weight_decay_multipliers if for_decay else [1.0] * len(self._rows)
        return {
            number: row.min_learning_rate * share * self._late(number, for_decay)
            for number, (row, share) in enumerate(zip(self._rows, shares, strict=True))
            if row.min_learning_rate
        }

    def rates(self, base_rate: Tensor, for_decay: bool = False) -> Tensor:
        """The effective rate of each group at this step, a tensor `(groups,)`.

        Args:
            base_rate: The base rate.
            for_decay: Whether it is for the weight decay.
        """
        rates, floors = base_rate * self.factors(for_decay), self.floors(for_decay)
        if not floors:
            return rates
        zero = keras.ops.zeros((), rates.dtype)
        lowest = [keras.ops.cast(floors[n], rates.dtype) if n in floors else zero for n in range(len(self._rows))]
        return keras.ops.maximum(rates, stack(lowest))

    def factors(self, for_decay: bool = False) -> Tensor:
        """The factor on the base rate of each group at this step, a tensor `(groups,)`.

        Args:
            for_decay: Whether they are for the weight decay; 0 for a group that does not decay.
        """
        if not for_decay:
            return self._over_time(for_decay=False)
        multipliers = keras.ops.convert_to_tensor(self.weight_decay_multipliers, keras.config.floatx())
        if self._optimizer.weight_decay_follows != EFFECTIVE_RATE:
            return multipliers
        factors = self._over_time(for_decay=True)
        return factors if set(self.weight_decay_multipliers) == {1.0} else factors * multipliers

    def _over_time(self, for_decay: bool) -> Tensor:
        """The multipliers, times the groups' own schedules and warm-ups; no bias correction applies to the decay."""
        if not self._changes_over_time:
            return self._multipliers()
        dtype = keras.config.floatx()
        accumulation = self._optimizer.gradient_accumulation_steps or 1
        batches = keras_private.clock(self._optimizer)  # which schedules count, as in Keras
        now = []
        for number, row in enumerate(self._rows):
            factor = keras.ops.cast(self._late(number, for_decay), dtype)
            if row.schedule is not None:
                began = row.schedule_start * accumulation
                factor = factor * keras.ops.cast(row.schedule(batches - began), dtype)
            now.append(factor)
        return self._multipliers() * stack(now)

    def _late(self, number: int, for_decay: bool) -> Tensor:
        """The factor of a group's late start at this step."""
        start = self._starts[number]
        if start == NO_START:
            return 1.0
        updates = keras.ops.cast(self._optimizer.iterations, keras.config.floatx())
        own = self.hyperparameters.by_group().get(number)
        betas = keras_private.bias_correction(self._optimizer, own)
        return start.factor(updates, betas, for_decay)

    def _multipliers(self) -> Tensor:
        """The multiplier of each group at this step."""
        if keras.backend.backend() != "torch":
            changed = self._without_hyperparameters(keras.ops.convert_to_tensor(self.settable.vector))
            return keras.ops.where(changed > 0, changed, keras.ops.convert_to_tensor(self._planned, changed.dtype))
        import torch  # `keras.ops.where` takes microseconds for each of its tensors

        changed = self._without_hyperparameters(keras_private.values([self.settable.vector])[0])
        if self._planned_on_torch is None:
            self._planned_on_torch = changed.new_tensor(self._planned)
        return torch.where(changed > 0, changed, self._planned_on_torch)

    def _without_hyperparameters(self, numbers: Tensor) -> Tensor:
        return numbers[: len(self._planned)] if self.hyperparameters.entries else numbers

    def members(self, variables: Sequence[keras.Variable]) -> "Members":
        """The groups of `variables`, some or all of the trainable ones in any order."""
        members = self._last.get(len(variables))  # on torch each set of hyperparameters has a list
        if members is None or not same(members.variables, variables):
            positions = [keras_private.position(self._optimizer, variable) for variable in variables]
            members = Members(list(variables), positions, [self._number_at[position] for position in positions])
            self._last[len(variables)] = members
        return members

    def set(self, name: str, variables: Sequence[keras.Variable], value: float) -> None:
        """Sets a number of the groups of `variables`.

        Args:
            name: `"multiplier"`, or a hyperparameter that the plan sets.
            variables: All variables that share it; frozen ones are ignored.
            value: The number; a multiplier is above 0.

        Raises:
            ValueError: If the number is invalid, or variables that share it are left out.
            KeyError: If the optimizer trains none of them.
        """
        if name != MULTIPLIER:
            self.hyperparameters.set(name, variables, value, self.plan)
            return
        multiplier = checked_multiplier(value, "multiplier")
        if multiplier == 0:
            raise ValueError(
                "A multiplier of 0 freezes, which changes the compiled step. Make a plan with difflr.FROZEN: "
                "difflr.replan(model, plan)."
            )
        self._set_multipliers(dict.fromkeys(self._groups_of(variables), multiplier))

    def scale(self, variables: Sequence[keras.Variable], factor: float) -> float:
        """Scales the multipliers of the groups of `variables`.

        Args:
            variables: All variables of these groups; frozen ones are ignored.
            factor: A number above 0.

        Returns:
            The highest of the new multipliers.

        Raises:
            ValueError: If variables of a group are left out, or a multiplier no longer fits its float type.
            KeyError: If none of them is trainable.
        """
        numbers, changed = self._groups_of(variables), self.settable.changes()
        now = {number: float(changed[number] or self._planned[number]) * factor for number in numbers}
        self._set_multipliers(now)
        return max(now.values())

    def _set_multipliers(self, multipliers: Mapping[int, float]) -> None:
        check_held(list(multipliers.values()), [self.plan.row(self._rows[n].variable).path for n in multipliers])
        self.settable.set(multipliers)

    def _groups_of(self, variables: Sequence[keras.Variable]) -> list[int]:
        """The numbers of the groups of `variables`, which must be complete."""
        numbers = self.settable.places(MULTIPLIER, variables, self.plan)
        if not numbers:
            path = self.plan.row(variables[0]).path
            raise KeyError(f"The optimizer trains no variable of {path}: it is frozen, or belongs to another model.")
        return numbers


def check_held(numbers: Sequence[float], paths: Sequence[str]) -> None:
    """Checks that the multipliers fit Keras's float type.

    Args:
        numbers: Multipliers above 0.
        paths: Their variables, for the error.

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


def stack(scalars: Sequence[Tensor]) -> Tensor:
    """The vector of `scalars`.

    Args:
        scalars: Tensors of shape `()`.
    """
    if keras.backend.backend() == "torch":
        import torch  # `keras.ops.stack` takes 7 microseconds for each of its tensors

        return torch.stack(list(scalars))
    return keras.ops.stack(scalars)


def unstack(vector: Tensor) -> list[Tensor]:
    """The entries of `vector` as scalars.

    Args:
        vector: A tensor or variable of shape `(n,)`.
    """
    vector = keras.ops.convert_to_tensor(vector)
    if keras.backend.backend() == "torch":
        return list(vector.unbind())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return list(tf.unstack(vector))
    import jax

    if isinstance(vector, jax.core.Tracer) and jax.default_backend() == "cpu":
        return _unstack_for_xla_on_cpu(vector)
    return list(vector)


def _unstack_for_xla_on_cpu(vector: Tensor) -> list[Tensor]:
    """The same by one operation, again and again: takes the first entry, and rolls the others up.

    XLA compiles a kernel once for all places that use the same one. With `vector[0]`, `vector[1]`, ... it draws the index
    into the update of each variable, so that no two are the same: 49 groups with SGD compile in 2.7 s instead of 0.4. The
    barrier keeps it from seeing through. On a GPU each roll would be a kernel to launch, at every step, so the entries are
    read there where they are used.
    """
    import jax

    entries = []
    for _ in range(vector.shape[0]):
        first, vector = jax.lax.optimization_barrier((vector[0], jax.numpy.roll(vector, -1)))
        entries.append(first)
    return entries
