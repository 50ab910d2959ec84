"""What an optimizer keeps for each variable, over all changes of its plan."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers.late_start import LateStart
from difflr.optimizers.saved_state import Key
from difflr.plan import Plan, Row
from difflr.plan.rebinding import with_rows

# A name for state of which it is not known to which variable it belongs.
_OTHER = "other"


class StateByPlace:
    """The state of variables that are frozen for a time, and when the others joined.

    When a variable is frozen, its state is kept here, in host memory, and restored exactly when it is unfrozen.
    Variables are known by their place in the layer tree.
    """

    def __init__(self) -> None:
        self.before_build: list[keras.Variable] = []
        self.starts: dict[str, LateStart] = {}
        self.seen: dict[str, int] = {}  # of those set aside: how many gradients their state has seen
        self.aside: dict[Key, np.ndarray] = {}
        self.changed: dict[str, tuple[float, float]] = {}  # multipliers changed while training: as planned, and now

    def move(self, plan: Plan, to: Plan) -> None:
        """Takes the places of another plan for the same variables.

        Args:
            plan: The plan so far.
            to: The other plan.
        """
        places = {row.place: to.row(row.variable).place for row in plan.rows if row.variable in to}
        self.starts = {places.get(place, place): start for place, start in self.starts.items()}
        self.seen = {places.get(place, place): number for place, number in self.seen.items()}
        self.aside = {(places.get(place or "", place), name): value for (place, name), value in self.aside.items()}
        self.changed = {places.get(place, place): numbers for place, numbers in self.changed.items()}

    def change(self, plan: Plan, to: Plan, step: int, warmup_steps: int, own_bias_correction: bool) -> None:
        """Notes who freezes and who joins.

        Args:
            plan: The plan so far.
            to: The next plan.
            step: The optimizer's step.
            warmup_steps: The length of the warm-up of those who join.
            own_bias_correction: Whether those who join count the steps of the bias correction for themselves.
        """
        before = {row.place for row in plan.rows if not row.frozen}
        after = {row.place for row in to.rows if not row.frozen}
        known = {row.place for row in to.rows}
        for place in before - after:
            start = self.starts.pop(place, LateStart())
            if place in known and step > start.behind:
                self.seen[place] = step - start.behind
        for place in after - before:
            behind = step - self.seen.pop(place, 0)
            self.starts[place] = LateStart(step, warmup_steps, behind if own_bias_correction else 0)
        self.starts = {place: start for place, start in self.starts.items() if start != LateStart()}

    def with_changed_multipliers(self, plan: Plan, before: Plan, multipliers: Mapping[int, float]) -> Plan:
        """The next plan, with the multipliers that were changed while training where it plans the same as before.

        Args:
            plan: The next plan; its `whole` stays as it is.
            before: The plan so far.
            multipliers: What was changed of it, by identity of the variable.
        """
        for row in before.rows:
            if id(row.variable) in multipliers:
                planned, now = self.changed.get(row.place, (row.multiplier, row.multiplier))
                planned = planned if now == row.multiplier else row.multiplier
                self.changed[row.place] = planned, multipliers[id(row.variable)]
        now_of = {place: number for place, (_, number) in self.changed.items()}

        def change(row: Row) -> Row:
            fits = row.place in now_of and row.multiplier == self.changed[row.place][0]
            return dataclasses.replace(row, multiplier=now_of[row.place]) if fits else row

        return with_rows(plan, change) if now_of else plan

    def keep_aside(self, values: Mapping[Key, np.ndarray]) -> None:
        """Keeps the state of those who are frozen, but gradients that were accumulated for a step not yet made."""
        self.aside = {
            (place, name): value
            for (place, name), value in {**self.aside, **values}.items()
            if place in self.seen and name != keras_private.ACCUMULATORS
        }


def entries(
    optimizer: keras.optimizers.Optimizer,
    rows: list[Row],
    before_build: list[keras.Variable],
    vectors: list[keras.Variable],
) -> dict[Key, keras.Variable]:
    """What a built optimizer keeps, by place and name; state of no known variable is numbered.

    Args:
        optimizer: The optimizer.
        rows: The rows of the variables that it was built with, in that order.
        before_build: The variables that it had before.
        vectors: Those of its groups' numbers, which are left out.
    """
    found: dict[Key, keras.Variable] = {(None, variable.name): variable for variable in before_build}
    shared = keras_private.shared_state(optimizer, before_build)
    left_out = set(map(id, vectors))
    found |= {(None, name): variable for name, variable in shared.items() if id(variable) not in left_out}
    for name, slot in keras_private.slots(optimizer, len(rows)).items():
        found |= {(row.place, name): value for row, value in zip(rows, slot, strict=True) if value is not None}
    known = {id(variable) for variable in [*vectors, *found.values()]}
    others = [variable for variable in optimizer.variables if id(variable) not in known]
    return found | {(None, f"{_OTHER} {number}"): variable for number, variable in enumerate(others)}


def check_known(optimizer: keras.optimizers.Optimizer, found: Mapping[Key, keras.Variable]) -> None:
    """Checks that it is known to which variable all of an optimizer's state belongs.

    Raises:
        ValueError: If it is not.
    """
    others = [variable.path for (place, name), variable in found.items() if place is None and name.startswith(_OTHER)]
    if others:
        raise ValueError(
            f"{type(optimizer).__name__} keeps {listed(others)} in no attribute that is a variable or a list with one "
            "entry for each variable it trains, so its state cannot be kept when other variables become trainable."
        )


def as_numpy(variable: keras.Variable) -> np.ndarray:
    """A copy of the variable's value in host memory."""
    return np.array(keras.ops.convert_to_numpy(variable))
