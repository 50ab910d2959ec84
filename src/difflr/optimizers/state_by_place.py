"""The optimizer's state by variable, kept across changes of the plan."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.plan import Plan, Row

# Names state that belongs to no known variable.
OTHER = "other"

# The variable and the name of an entry of the optimizer's state: (place, slot); (None, name) if it belongs to no variable.
Key = tuple[str | None, str]


@dataclasses.dataclass(frozen=True)
class LateStart:
    """The late start of a newly unfrozen variable: its warm-up and its own bias correction.

    During the warm-up the rate rises linearly from `1 / warmup_steps` to 1.

    Adam corrects the bias of its moments by the optimizer's step `t`, but the moments of a newly unfrozen variable have
    seen only `t - behind` gradients. Keras's Adam applies both corrections to its rate,
    `sqrt(1 - beta_2^t) / (1 - beta_1^t)`, so a factor on the rate makes them exact. Without it the variable's first step
    is 3 times too large (`0.1 / sqrt(0.001)`). The factor does not apply to weight decay.

    Args:
        joined_at: Integer, the optimizer's step at which the variable was unfrozen; 0 without a warm-up, so that variables
            with equal rates are one group.
        warmup_steps: Integer, the length of the warm-up; 0 for none.
        behind: Integer, how many of the optimizer's gradients its state has not seen; 0 if nothing corrects for them.

    Reference: Kingma and Ba, "Adam", 2015, section 2 (the factor on the rate) and 7.1 (Adamax). `torch.optim.Adam`
    keeps a step for each parameter.
    """

    joined_at: int = 0
    warmup_steps: int = 0
    behind: int = 0

    def factor(self, updates: Any, betas: tuple[Any, Any] | None, for_decay: bool = False) -> Any:
        """The factor on the rate at this step: a scalar tensor, or 1.0 if it never differs.

        Args:
            updates: The number of updates so far, a scalar tensor.
            betas: The result of `keras_private.bias_correction`.
            for_decay: Whether the factor is for weight decay.
        """
        factor: Any = 1.0
        if self.warmup_steps:
            factor = keras.ops.minimum((updates - self.joined_at + 1.0) / self.warmup_steps, 1.0)
        if self.behind and betas is not None and not for_decay:
            factor = factor * _correction(updates + 1.0 - self.behind, *betas) / _correction(updates + 1.0, *betas)
        return factor


NO_START = LateStart()


def _correction(step: Any, beta_1: float, beta_2: float | None) -> Any:
    """The bias correction of Adam, or of Adamax if `beta_2` is `None`."""
    correction = 1.0 / (1.0 - keras.ops.power(keras.ops.cast(beta_1, step.dtype), step))
    if beta_2 is None:
        return correction
    return correction * keras.ops.sqrt(1.0 - keras.ops.power(keras.ops.cast(beta_2, step.dtype), step))


@dataclasses.dataclass
class StateByPlace:
    """The state of temporarily frozen variables, and when the others were unfrozen.

    When a variable is frozen, its state is kept here, in host memory, and restored exactly when it is unfrozen.
    Variables are identified by their place in the layer tree.

    Args:
        before_build: The optimizer's state variables from before its build.
        starts: The late starts of newly unfrozen variables.
        seen: How many gradients the state of frozen variables has seen.
        aside: That state.
        changed: Numbers changed while training: name -> planned, current.
    """

    before_build: list[keras.Variable] = dataclasses.field(default_factory=list)
    starts: dict[str, LateStart] = dataclasses.field(default_factory=dict)
    seen: dict[str, int] = dataclasses.field(default_factory=dict)
    aside: dict[Key, np.ndarray] = dataclasses.field(default_factory=dict)
    changed: dict[str, dict[str, tuple[float, float]]] = dataclasses.field(default_factory=dict)

    def move(self, plan: Plan, to: Plan) -> Plan:
        """Switches to the places of another plan, and drops the state of variables that it does not have.

        Args:
            plan: The plan so far.
            to: The other plan.

        Returns:
            The plan so far, with these places.
        """
        places = {row.place: to.row(row.variable).place for row in plan.rows if row.variable in to}
        gone = {row.place for row in plan.rows} - places.keys()
        if not gone and all(place == there for place, there in places.items()):
            return plan

        def moved(by_place: dict[str, Any]) -> dict[str, Any]:
            return {places.get(place, place): value for place, value in by_place.items() if place not in gone}

        self.aside = {
            (places.get(place or "", place), name): value
            for (place, name), value in self.aside.items()
            if place not in gone
        }
        self.starts, self.seen, self.changed = moved(self.starts), moved(self.seen), moved(self.changed)
        rows = [row for row in plan.rows if row.variable in to]
        return Plan.from_rows([dataclasses.replace(row, place=places[row.place]) for row in rows])

    def change(self, plan: Plan, to: Plan, step: int, warmup_steps: int, own_bias_correction: bool) -> None:
        """Records which variables become frozen and which are newly unfrozen.

        Args:
            plan: The plan so far.
            to: The next plan.
            step: The optimizer's step.
            warmup_steps: The length of the warm-up of newly unfrozen variables.
            own_bias_correction: Whether newly unfrozen variables count their own steps for a bias correction.
        """
        before = {row.place for row in plan.rows if not row.frozen}
        after = {row.place for row in to.rows if not row.frozen}
        known = {row.place for row in to.rows}
        for place in before - after:
            start = self.starts.pop(place, NO_START)
            if place in known and step > start.behind:
                self.seen[place] = step - start.behind
        for place in after - before:
            behind = step - self.seen.pop(place, 0)
            joined_at = step if warmup_steps else 0
            self.starts[place] = LateStart(joined_at, warmup_steps, behind if own_bias_correction else 0)
        self.starts = {place: start for place, start in self.starts.items() if start != NO_START}

    def with_changed_numbers(self, plan: Plan, before: Plan, numbers: Mapping[int, Mapping[str, float]]) -> Plan:
        """The next plan, with numbers that were changed while training where it plans the same number as before.

        Args:
            plan: The next plan; its `whole` stays as it is.
            before: The plan so far.
            numbers: What was changed of it: identity of the variable -> name -> number.
        """
        for row in before.rows:
            for name, now in numbers.get(id(row.variable), {}).items():
                known = self.changed.setdefault(row.place, {})
                planned, last = known.get(name, (row.number(name), row.number(name)))
                known[name] = planned if last == row.number(name) else row.number(name), now

        def change(row: Row) -> Row:
            known = self.changed.get(row.place, {})
            return row.with_numbers(
                {name: now for name, (planned, now) in known.items() if row.number(name) == planned}
            )

        return plan.changed(change, in_whole=False)

    def keep_aside(self, values: Mapping[Key, np.ndarray]) -> None:
        """Keeps the state of frozen variables among `values`, without incomplete gradient accumulations."""
        self.aside = {
            (place, name): value
            for (place, name), value in values.items()
            if place in self.seen and name != keras_private.ACCUMULATORS
        }


def as_numpy(variable: keras.Variable) -> np.ndarray:
    """A copy of the variable's value in host memory."""
    return np.array(keras.ops.convert_to_numpy(variable))
