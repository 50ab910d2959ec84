"""The differential optimizer: the Keras optimizer it is named after, with a rate per group of variables."""

import inspect
from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from difflr import keras_private
from difflr.checks import checked_option, shown
from difflr.optimizers import loading, torch_passes
from difflr.optimizers.grouped_update import GroupedUpdate
from difflr.optimizers.groups import EFFECTIVE_RATE
from difflr.optimizers.multipliers_argument import SAVED_PLAN, MultipliersArgument
from difflr.optimizers.saved_state import HEADER, State
from difflr.optimizers.state_by_place import Key, LateStart, as_numpy
from difflr.plan import Plan, Rule, saved_plan
from difflr.plan.freezing import with_frozen_by_hand
from difflr.plan.rebinding import without_replaced
from difflr.signatures import with_nearest_argument

FOLLOWS = (EFFECTIVE_RATE, "base_rate")

_REPLAN = "Replace the whole plan by difflr.replan(model, plan)"
_HOW_TO_SET = {
    "lr": "Set `learning_rate`.",
    "multiplier": "Set one of `optimizer.multipliers`, which is a mapping.",
    "multipliers": f"Set single ones, as in optimizer.multipliers[layer] = 0.5. {_REPLAN}.",
    "hyperparameters": f"Set single ones, as in optimizer.hyperparameters['momentum'][layer] = 0.8. {_REPLAN}.",
    "plan": f"{_REPLAN}.",
}


class DifferentialOptimizer(GroupedUpdate):
    """Gives a Keras optimizer a learning rate per variable; everything else is that optimizer.

    `optimizer.learning_rate` is the base rate: callbacks and schedules change it and keep the ratios. The rate of a
    variable is the base rate times its multiplier (times its group's schedule). Variables that the plan freezes get
    `trainable = False`: no gradient, no optimizer state, no part in a clip norm. With all multipliers 1 it trains bit
    for bit (see `fused`) like the optimizer it is named after.

    Args:
        multipliers: A `difflr.Plan`; a mapping (or list of pairs) from layers or variables to numbers or
            other values of a rule; one number for all; a function `variable -> number`; or `None`, the default: the
            multipliers that layers declare (`difflr.layers`), 1 elsewhere.
        weight_decay_follows: The factor on decoupled weight decay: `"effective_rate"`, the default (a variable
            at a tenth of the rate decays a tenth as fast, as in `torch.optim.AdamW`), or `"base_rate"` (all
            variables decay at the same rate, as in big_vision).
        fused: On torch, whether Adam, AdamW, Adagrad and SGD with momentum use torch's fused kernels: several times
            faster, equal to the stock optimizer within rounding (about 1e-6 relative over 100 steps). `False`: bit for bit
            the stock optimizer. It has no effect on other optimizers, JAX and TensorFlow.

    Raises:
        ValueError: If a multiplier is not a finite number >= 0, or an option is invalid; on build, if the plan does not
            cover the variables.
        TypeError: If `multipliers` has an unknown form.

    Example:

    ```python
    import keras
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    plan = difflr.Plan(model, {"body": 0.1})
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=plan), loss="mse")
    ```

    Reference: the original request's `v = momentum * m - lr * multiplier * g`; Caffe's `local_rate = rate * lr_mult`
    (`sgd_solver.cpp`).
    """

    VECTORIZED_STEPS = torch_passes.NAMES
    HOW_TO_SET = _HOW_TO_SET

    def __init__(
        self,
        *args: Any,
        multipliers: Any = None,
        weight_decay_follows: str = EFFECTIVE_RATE,
        fused: bool = True,
        **kwargs: Any,
    ):
        if args or isinstance(kwargs.get("learning_rate"), (Plan, Mapping)):
            _check_is_no_plan(type(self), args, kwargs)
        checked_option(weight_decay_follows, "weight_decay_follows", FOLLOWS)
        checked_option(fused, "fused", (True, False))
        argument = MultipliersArgument(multipliers)
        try:
            super().__init__(*args, argument=argument, **kwargs)
        except (TypeError, ValueError) as error:
            known = inspect.signature(type(self)).parameters
            raise with_nearest_argument(error, kwargs, known) from None
        self.weight_decay_follows = weight_decay_follows
        self.fused = fused
        self.callback_state: dict[str, Any] = {}  # of callbacks, saved with the optimizer
        self.callback_arrays: dict[str, Any] = {}

    def get_config(self) -> dict[str, Any]:
        """The optimizer's own config, and the plan as data: paths and numbers.

        Raises:
            ValueError: If the optimizer is not built and its multipliers are a function, which only a build resolves.
        """
        config = super().get_config()
        config["weight_decay_follows"] = self.weight_decay_follows
        config["fused"] = self.fused
        if self._groups is None:
            config["multipliers"] = self._multipliers_argument.to_config()
        else:  # what Keras will list of the loaded model, or the plan would not fit it
            plan = with_frozen_by_hand(without_replaced(self.plan), self._groups.trainable)
            config["multipliers"] = {SAVED_PLAN: self.plan_config(plan)}
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
            numbers={places[key]: numbers for key, numbers in self._groups.settable.changed().items()},
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
        variables = [variable for variable in self.variables if variable is not self._groups.settable.vector]
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
            self._groups.settable.restore({})
        else:
            self._rebuild(plan, values)
        self._states.changed = {place: numbers for place, numbers in state.changed.items() if place in known}
        self.callback_state, self.callback_arrays = dict(state.callbacks), dict(state.arrays)
        self._warn_at_next_step(plan)


def _check_is_no_plan(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Checks that rules are not taken for a learning rate or a beta.

    Raises:
        TypeError: If a plan or a mapping is among the arguments of the Keras optimizer.
    """
    named = dict(zip(inspect.signature(cls).parameters, args, strict=False))
    for name, value in {**named, **kwargs}.items():
        if isinstance(value, (Plan, Rule, Mapping)):
            raise TypeError(
                f"Plans and rules are given by name: {cls.__name__}(1e-3, multipliers=...). Received as `{name}`: "
                f"{shown(value)} (of type {type(value).__name__})."
            )


keras_private.load_apart()
