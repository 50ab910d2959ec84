"""An optimizer that holds one plan, and keeps its state by variable when the plan is replaced."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import checked_option, checked_steps, listed
from difflr.optimizers import build_checks
from difflr.optimizers.current_multipliers import CurrentHyperparameters, CurrentMultipliers, CurrentValues
from difflr.optimizers.groups import Groups
from difflr.optimizers.multipliers_argument import MultipliersArgument
from difflr.optimizers.shared_models import watch_shared_models
from difflr.optimizers.state_by_place import NO_START, OTHER, Key, LateStart, StateByPlace, as_numpy
from difflr.plan import Plan, saved_plan
from difflr.plan.freezing import freeze, with_frozen_by_hand
from difflr.plan.rebinding import (
    tied_to,
    with_numbers,
    with_schedule_starts,
    without_decay,
)


class PlannedOptimizer(keras_private.OptimizerHooks):
    """The part of a differential optimizer that holds the plan.

    Args:
        *args: As in the Keras optimizer.
        argument: The argument `multipliers`.
        **kwargs: As in the Keras optimizer.
    """

    def __init__(self, *args: Any, argument: MultipliersArgument, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._multipliers_argument = argument
        self._groups: Groups | None = None
        self._model: weakref.ref[keras.Layer] | None = None
        self._states = StateByPlace()
        self._unbound: dict[str, Any] | None = None  # a loaded plan, until the model is known
        self.loaded_config: dict[str, Any] | None = None  # the plan of the loaded state, if another one is in force
        self._warning_at_next_step = ""
        self.first_rate = keras_private.live_learning_rate(self)
        self.corrects_bias = keras_private.bias_correction(self) is not None
        keras_private.let_trainable_be_set()
        if argument.plan is not None:
            build_checks.check_base_rate(argument.plan, self.first_rate)
            freeze(argument.plan)
            watch_shared_models(argument.plan)

    @property
    def plan(self) -> Plan:
        """The plan in force, with the current multipliers and hyperparameters.

        Raises:
            ValueError: If the optimizer was made without a plan and is not built yet.
            RuntimeError: On JAX between the batches of `fit`, before `model.jax_state_sync()`.
        """
        if self._groups is not None:
            numbers = self._groups.settable.changed()
            return with_numbers(self._groups.plan, numbers) if numbers else self._groups.plan
        if self._multipliers_argument.plan is not None:
            return self._multipliers_argument.plan
        raise ValueError(
            "The optimizer is not built yet and has no plan. Call `optimizer.build(model.trainable_variables)` "
            "or `fit` first, or pass `multipliers=difflr.Plan(model, rules)`. difflr.plan_of(model) works before."
        )

    def plan_for(self, model: keras.Layer) -> Plan:
        """The plan in force for `model`, built or not; see `difflr.plan_of`.

        Args:
            model: The model it trains.
        """
        if self._groups is None:
            return self._multipliers_argument.resolve(model.trainable_variables, model, self.first_rate)
        others = [row for row in Plan(model).rows if row.variable not in self._groups.plan]
        if self._groups.trainable and all(row.frozen for row in others):  # of a GAN each optimizer trains a part
            self._bind_plan(model)
        return with_frozen_by_hand(self.plan, self._groups.trainable)

    def whole_plan(self) -> Plan:
        """The whole plan of a built optimizer, with its original multipliers: the one that phases change."""
        return with_frozen_by_hand(self._groups.plan, self._groups.trainable).whole

    @property
    def multipliers(self) -> CurrentMultipliers:
        """Variable -> multiplier now, readable and, once built, settable: `optimizer.multipliers[layer] = 0.05`.

        The key is a variable, a layer or a path in the layer tree. Setting does not recompile. The variables of a group
        share one multiplier: name all of them.
        """
        return CurrentMultipliers(self)

    def has_multipliers(self) -> bool:
        """Whether the argument `multipliers` was set."""
        return any(value is not None for value in vars(self._multipliers_argument).values())

    @property
    def hyperparameters(self) -> CurrentHyperparameters:
        """The hyperparameters that the plan sets, by name: variable -> current value.

        Numbers are settable without recompiling: `optimizer.hyperparameters["momentum"]["body"] = 0.8`. Name all
        variables that share a number in the plan.
        """
        names = (name for row in self.plan.rows for name in row.hyperparameters)
        return CurrentHyperparameters({name: CurrentValues(self, name) for name in names})

    def effective_rates(self) -> dict[int, float]:
        """The effective rate of each trainable variable at this step, by its identity."""
        if self._groups is None:
            return {}
        rates = keras.ops.convert_to_numpy(self._groups.rates(keras.ops.convert_to_tensor(self.learning_rate))).tolist()
        return {id(variable): rates[self._groups.of(n)] for n, variable in enumerate(self._groups.trainable)}

    def late_start(self, variable: keras.Variable) -> LateStart:
        """When a trainable variable was unfrozen.

        Args:
            variable: A variable that the optimizer was built with.
        """
        place = self._groups.plan.row(variable).place
        return self._states.starts.get(place, NO_START)

    @property
    def loaded_plan(self) -> Plan | None:
        """The plan of the loaded state, if another one is in force; `None` otherwise."""
        if self.loaded_config is None:
            return None
        model = self._groups.plan.model or (self._model() if self._model is not None else None)
        if model is None:
            raise ValueError("The model is not known: call `optimizer.bind(model)` first.")
        return saved_plan.bind_to_model(self.loaded_config, Plan(model))

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Resolves the plan for `variables`, freezes what it freezes, and creates the state of the others.

        Args:
            variables: The model's trainable variables.

        Raises:
            ValueError: If the plan does not cover them, freezes them all, trains a variable that was since frozen by hand,
                or names variables when there are none.
        """
        if self.built:
            return
        if not len(variables):
            build_checks.check_names_no_variables(self._multipliers_argument)
            self._build_for(Plan.from_rows([]), [])
            return
        model = self._model() if self._model is not None else None
        plan = self._multipliers_argument.resolve(list(variables), model, self.first_rate)
        if excluded := [v for v in variables if v in plan and not keras_private.decays(self, v)]:
            plan = without_decay(plan, excluded)
        build_checks.check_hyperparameters(plan, self)
        build_checks.check_all_are_listed(plan, variables)
        build_checks.check_trains_something(plan)
        freeze(plan)
        build_checks.warn_of_decay_without_effect(plan, self)
        self._build_for(plan, [variable for variable in variables if not plan.row(variable).frozen])
        if model is None and self._multipliers_argument.config is not None:
            self._unbound = self._multipliers_argument.config
            self._warn_at_next_step(plan)

    def _build_for(self, plan: Plan, trainable: Sequence[keras.Variable]) -> None:
        self._states.before_build = list(self.variables)
        super().build(trainable)
        self._groups = Groups(plan, trainable, self, self._states.starts)

    def bind(self, model: keras.Layer) -> None:
        """Connects the optimizer to the model of its variables, so that rules can be path patterns.

        `compile` of `difflr.Model` and `difflr.Sequential` does this, and so do phases. Keras passes an optimizer its
        variables only, which is enough to train, also after loading. Call it on a loaded, subclassed `keras.Model`
        whose plan froze BatchNormalization layers: the plan then finds those layers again.

        Args:
            model: The model the optimizer is compiled with.

        Raises:
            ValueError: If the optimizer was built for variables of another model.
        """
        if self._groups is not None and self._groups.trainable:
            self._bind_plan(model)
            freeze(self._groups.plan)
            watch_shared_models(self._groups.plan)
        elif self._groups is None and model.built and self._multipliers_argument.config is None:
            plan = self._multipliers_argument.resolve(model.trainable_variables, model, self.first_rate)
            freeze(plan)  # from here on Keras lists what is unfrozen
            watch_shared_models(plan)
        self._model = weakref.ref(model)

    def _bind_plan(self, model: keras.Layer) -> None:
        """Gives the plan of a built optimizer the paths and places of `model`; changes nothing that is trainable."""
        plan = self._groups.plan
        if self._unbound is not None:
            saved_plan.mark_frozen(model, self._unbound)
            bound = saved_plan.bind_to_model(self._unbound, Plan(model))
            build_checks.check_same_places(plan, bound)
        else:
            bound = plan if plan.model is model else tied_to(plan, model)
        self._states.move(plan, bound)
        self._groups.plan, self._unbound = bound, None

    def replan(self, plan: Plan, *, warmup_steps: int = 0, own_bias_correction: bool = True) -> None:
        """Replaces the optimizer's plan and keeps its state by variable.

        Use `difflr.replan(model, plan)` for a compiled model: it rebuilds the training step as well.

        Args:
            plan: The new plan.
            warmup_steps: As for `difflr.replan`.
            own_bias_correction: As for `difflr.replan`.

        Raises:
            TypeError: If it is not a plan.
            ValueError: If an argument is out of its range, or the plan trains nothing, or something that `trainable = False`
                froze. Nothing is changed then.
        """
        self.check_plan(plan)
        warmup_steps = checked_steps(warmup_steps, "warmup_steps", lowest=0)
        checked_option(own_bias_correction, "own_bias_correction", (True, False))
        self.switch_to(plan, warmup_steps, own_bias_correction)

    def check_plan(self, plan: Plan) -> None:
        """Checks a plan before this optimizer switches to it.

        Raises:
            TypeError: If it is not a plan.
            ValueError: If it trains nothing or something that `trainable = False` froze, is for another base rate, or sets
                hyperparameters that the optimizer does not have.
        """
        build_checks.check_new_plan(plan)
        build_checks.check_base_rate(plan, self.first_rate, keras_private.live_learning_rate(self))
        build_checks.check_hyperparameters(plan, self)

    def switch_to(self, plan: Plan, warmup_steps: int, own_bias_correction: bool) -> None:
        """Replaces the plan by one that `check_plan` accepts.

        Args:
            plan: The new plan.
            warmup_steps: As for `difflr.replan`.
            own_bias_correction: As for `difflr.replan`.
        """
        self._warning_at_next_step = ""
        if self._groups is None:
            self._multipliers_argument = MultipliersArgument(plan)
            freeze(plan)
            return
        has_grown = any(row.variable not in self._groups.plan for row in plan.rows if not row.frozen)
        if self._unbound is not None and plan.model is not None and not has_grown:
            self._bind_plan(plan.model)
        states, found = self._states, self.state_entries()
        if others := [
            variable.path for (place, name), variable in found.items() if place is None and name.startswith(OTHER)
        ]:
            raise ValueError(
                f"{type(self).__name__} keeps {listed(others)} in no attribute that is a variable or a list with one "
                "entry for each variable it trains, so its state cannot be kept when other variables become trainable."
            )
        self._unbound = None
        states.aside |= {key: as_numpy(variable) for key, variable in found.items()}
        step = int(keras.ops.convert_to_numpy(self.iterations))
        numbers, before = self._groups.settable.changed(), states.move(self._groups.plan, plan)
        if plan.has_schedules:
            plan = with_schedule_starts(plan, before, step)
        if numbers or states.changed:
            plan = states.with_changed_numbers(plan, before, numbers)
        states.change(before, plan, step, warmup_steps, own_bias_correction and self.corrects_bias)
        self._rebuild(plan, states.aside)

    def _rebuild(self, plan: Plan, values: Mapping[Key, np.ndarray]) -> None:
        """Builds the optimizer for the variables that `plan` trains, and restores their state.

        Args:
            plan: The plan.
            values: All state, by place and name.
        """
        freeze(plan)
        model = plan.model
        variables = [row.variable for row in plan.rows] if model is None else model.trainable_variables
        keras_private.unbuild(self, self._states.before_build)
        with keras_private.strategy_scope(model):
            self._build_for(plan, [v for v in variables if v in plan and not plan.row(v).frozen])
        self._states.keep_aside(values)
        self._assign(values)

    def _assign(self, values: Mapping[Key, np.ndarray]) -> None:
        late = int(keras.ops.convert_to_numpy(self.iterations)) > 0
        by_place = {row.place: row.variable for row in self._groups.plan.rows}
        for (place, name), variable in self.state_entries().items():
            value = values.get((place, name))
            if value is not None and tuple(value.shape) == tuple(variable.shape):
                variable.assign(value)
            elif name == keras_private.AVERAGES and late and place is not None:
                variable.assign(as_numpy(by_place[place]))  # an average that starts at 0 would pull the variable there

    def state_entries(self) -> dict[Key, keras.Variable]:
        """The optimizer's state, by place and name; without the numbers that can be set. Of no known variable: numbered."""
        before_build, numbers = self._states.before_build, self._groups.settable.vector
        rows = [self._groups.plan.row(variable) for variable in self._groups.trainable]
        found: dict[Key, keras.Variable] = {(None, variable.name): variable for variable in before_build}
        shared = keras_private.shared_state(self, before_build)
        found |= {(None, name): variable for name, variable in shared.items() if variable is not numbers}
        for name, slot in keras_private.slots(self, len(rows)).items():
            found |= {(row.place, name): value for row, value in zip(rows, slot, strict=True) if value is not None}
        known = {id(variable) for variable in [numbers, *found.values()]}
        others = [variable for variable in self.variables if id(variable) not in known]
        return found | {(None, f"{OTHER} {number}"): variable for number, variable in enumerate(others)}

    def _warn_at_next_step(self, plan: Plan) -> None:
        """Prepares the warning that a loaded phase is in force."""
        whole = {id(row.variable) for row in plan.whole.rows if not row.frozen}
        frozen = [row for row in plan.rows if row.frozen and id(row.variable) in whole]
        self._warning_at_next_step = build_checks.still_frozen(frozen) if frozen else ""
