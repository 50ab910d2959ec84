"""The plan at work: one scalar per group of variables."""

from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers import state_layout
from difflr.optimizers.newcomer import Newcomer
from difflr.plan import Group, Plan, Row
from difflr.plan.rule import checked_multiplier


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

    def plan_group(self, number: int) -> Group:
        """The plan's group behind a number."""
        return self._groups[number]

    def is_frozen(self, variable: Any) -> bool:
        """Whether the plan freezes `variable`."""
        return id(variable) in self._frozen

    def rate_factor(self, number: int, for_decay: bool = False) -> Any:
        """The factor on the base rate at this step: a scalar tensor. A newcomer's clock is not on its decay."""
        factor = keras.ops.convert_to_tensor(self.scalars[number])
        schedule = self._groups[number].schedule
        if schedule is None:
            return factor
        if for_decay and isinstance(schedule, Newcomer):
            schedule = schedule.for_weight_decay
        return factor * keras.ops.cast(schedule(self._optimizer.iterations), factor.dtype)

    def rates(self, positions: list[int], learning_rate: Any) -> list[float]:
        """The effective rates of the live variables at `positions`, as Python floats: for torch's eager pass."""
        by_group = _as_floats(keras.ops.convert_to_tensor(learning_rate) * self._factors())
        return [by_group[self._number_at[position]] for position in positions]

    def decay_rates(self, positions: list[int], learning_rate: Any, follows: bool) -> list[float]:
        """What the weight decay at `positions` is multiplied by, as Python floats: for torch's eager pass."""
        factors = keras.ops.convert_to_tensor(
            [group.weight_decay_multiplier for group in self._groups], dtype=keras.config.floatx()
        )
        by_group = _as_floats(
            keras.ops.convert_to_tensor(learning_rate)
            * (factors * self._factors(for_decay=True) if follows else factors)
        )
        return [by_group[self._number_at[position]] for position in positions]

    def _factors(self, for_decay: bool = False) -> Any:
        """The factors of all groups at this step, as one torch tensor."""
        import torch  # `keras.ops.stack` takes 7 microseconds for each of its tensors

        if any(group.schedule is not None for group in self._groups):
            return torch.stack([self.rate_factor(number, for_decay) for number in range(len(self._groups))])
        return torch.stack([scalar.value for scalar in self.scalars])

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


def _shortest(number: Any, planned: float) -> float:
    """A stored number as a float: the planned one where it is still that, else as short as its precision allows."""
    if number == number.dtype.type(planned):
        return planned
    return float(str(number))


def _as_floats(numbers: Any) -> list[float]:
    result: list[float] = keras.ops.convert_to_numpy(numbers).tolist()
    return result
