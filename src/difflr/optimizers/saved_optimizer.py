"""Saves and loads an optimizer: its plan, and its state by variable."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from difflr import keras_private
from difflr.optimizers import loading
from difflr.optimizers.grouped_update import GroupedUpdate
from difflr.optimizers.multipliers_argument import SAVED_PLAN
from difflr.optimizers.saved_state import HEADER, State
from difflr.optimizers.state_by_place import Key, LateStart, as_numpy
from difflr.plan import Plan, saved_plan


class SavedOptimizer(GroupedUpdate):
    """The part of a differential optimizer that is saved and loaded."""

    def get_config(self) -> dict[str, Any]:
        """The optimizer's own config, and the plan as data: paths and numbers.

        Raises:
            ValueError: If the optimizer is not built and its multipliers are a function, which only a build resolves.
        """
        config = super().get_config()
        config["weight_decay_follows"] = self.weight_decay_follows
        config["fused"] = self.fused
        built = self._groups is not None
        config["multipliers"] = (
            {SAVED_PLAN: self.plan_config(self.plan)} if built else self._multipliers_argument.to_config()
        )
        return config

    def plan_config(self, plan: Plan) -> dict[str, Any]:
        """A plan of a built optimizer as data; a loaded plan that is not bound to the model yet, as it was loaded."""
        return saved_plan.to_config(plan) if self._unbound is None else self._unbound

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Saves the optimizer's state by variable, with the plan in force.

        Args:
            store: A store of Keras.
        """
        if self._groups is None:
            super().save_own_variables(store)
            return
        places = {id(row.variable): row.place for row in self._groups.plan.rows}
        State(
            plan=self.plan_config(self._groups.plan),
            values={key: as_numpy(variable) for key, variable in self.state_entries().items()},
            aside=self._states.aside,
            starts=self._states.starts,
            seen=self._states.seen,
            numbers={places[key]: numbers for key, numbers in self._groups.numbers().items()},
            learning_rate=self.first_rate if isinstance(self.first_rate, float) else None,
            callbacks=self.callback_state,
            changed=self._states.changed,
            arrays=self.callback_arrays,
        ).save(store)

    def stored(self) -> dict[str, Any]:
        """What `save_own_variables` writes."""
        store: dict[str, Any] = {}
        self.save_own_variables(store)
        return store

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Loads the optimizer's state, by variable.

        If the saved plan differs, the optimizer's own plan applies, and one warning lists the differences. Variables without
        saved state start fresh. The state of a stock optimizer of the same class can be loaded, too. An optimizer that
        is not built cannot load state: Keras warns and continues without it.

        Args:
            store: A store of Keras.

        Raises:
            ValueError: If the file is damaged; the optimizer is then as it was.
        """
        state = {name: store[name] for name in list(store.keys())}
        if self._groups is None:
            super().load_own_variables(state)
        elif HEADER not in state:
            self._load_by_position(state)
        else:
            loading.load(self, self._groups.plan, State.load(state))

    def _load_by_position(self, state: dict[str, Any]) -> None:
        """Loads the state of a stock optimizer, or of one that was saved before it was built."""
        vectors = self._groups.vectors
        variables = [variable for variable in self.variables if all(variable is not vector for vector in vectors)]
        if len(state) == len(self._states.before_build):
            variables = self._states.before_build
        if len(state) != len(variables):
            super().load_own_variables(state)  # which warns
            return
        for number, variable in enumerate(variables):
            if np.shape(state.get(str(number), ())) != tuple(variable.shape) or str(number) not in state:
                raise ValueError(
                    f"The saved state of optimizer '{self.name}' does not fit: number {number} is not there, or has not "
                    f"the shape {tuple(variable.shape)} of {variable.path}."
                )
        for number, variable in enumerate(variables):
            variable.assign(state[str(number)])

    # -- what `loading` asks for ----------------------------------------------------------------------------------------

    def take(
        self,
        plan: Plan,
        values: Mapping[Key, np.ndarray],
        starts: Mapping[str, LateStart],
        seen: Mapping[str, int],
        state: State,
    ) -> None:
        """Takes a saved state.

        Args:
            plan: The plan in force from now on.
            values: All state, by place and name.
            starts: The late starts of variables, by place.
            seen: How many gradients the state of frozen variables has seen, by place.
            state: The saved state, for data that belongs to no variable.
        """
        known = {row.place for row in plan.rows}
        same_groups = plan is self._groups.plan and starts == self._states.starts
        self._states.starts, self._states.seen = dict(starts), dict(seen)
        if same_groups and self.state_entries().keys() <= values.keys():
            self._states.keep_aside(values)
            self._assign(values)
            for vector in self._groups.vectors:
                vector.assign(np.zeros(vector.shape))
        else:
            self._rebuild(plan, values)
        self._states.changed = {place: numbers for place, numbers in state.changed.items() if place in known}
        self.callback_state, self.callback_arrays = dict(state.callbacks), dict(state.arrays)
        self._warn_at_next_step(plan)

    def restore_numbers(self, numbers: Mapping[int, Mapping[str, float]]) -> list[int]:
        """Restores changed numbers, as `Groups.restore` does."""
        return self._groups.restore(numbers)


keras_private.load_apart()
