"""The differential optimizer: the Keras optimizer it is named after, with a rate per group of variables."""

import warnings
import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.checks import listed, shown
from difflr.optimizers import build_checks, loading
from difflr.optimizers.current_multipliers import CurrentMultipliers
from difflr.optimizers.groups import EFFECTIVE_RATE, Groups
from difflr.optimizers.multipliers_argument import SAVED_PLAN, MultipliersArgument
from difflr.optimizers.saved_state import HEADER, State
from difflr.optimizers.state_by_place import StateByPlace, as_numpy, check_known, entries
from difflr.plan import Plan, saved_plan
from difflr.plan.freezing import freeze
from difflr.plan.rebinding import tied_to, with_frozen_by_hand, with_multipliers, without_decay

FOLLOWS = (EFFECTIVE_RATE, "base_rate")


class DifferentialOptimizer(keras_private.OptimizerHooks):
    """Gives a Keras optimizer a learning rate per variable; everything else is that optimizer.

    `optimizer.learning_rate` is the base rate: callbacks and schedules change it, and the ratios stay. The rate of a
    variable is the base rate times its multiplier (times its group's schedule). Variables that the plan freezes get
    `trainable = False`: no gradient, no optimizer state, no part in a clip norm. With all multipliers 1 it is, bit
    for bit (see `fused`), the optimizer it is named after.

    Args:
        multipliers: Who gets what. A `difflr.Plan`; a mapping (or list of pairs) from layers or variables to numbers or
            other values of a rule; one number for all; a function `variable -> number`; or `None`, the default: what
            the layers declare (`difflr.layers`), 1 elsewhere.
        weight_decay_follows: What decoupled weight decay is multiplied by: `"effective_rate"`, the default (a variable
            at a tenth of the rate decays a tenth as fast, as in `torch.optim.AdamW`), or `"base_rate"` (it decays
            alike at every rate, as in big_vision).
        fused: On torch, whether Adam, AdamW, Adagrad and SGD with momentum use torch's fused kernels: several times
            faster, and equal to the stock optimizer within rounding (about 1e-6 relatively over 100 steps). `False`: bit
            for bit the stock optimizer. Nothing else has fused kernels, nor do JAX and TensorFlow, which compile the
            step.

    Raises:
        ValueError: If a multiplier is negative, not finite or no number, or an option is none of those named; on build,
            if the plan does not cover the variables.
        TypeError: If `multipliers` is of no known form.

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

    def __init__(
        self,
        *args: Any,
        multipliers: Any = None,
        weight_decay_follows: str = EFFECTIVE_RATE,
        fused: bool = True,
        **kwargs: Any,
    ):
        if weight_decay_follows not in FOLLOWS:
            raise ValueError(
                f"`weight_decay_follows` must be 'effective_rate' or 'base_rate'. Received: {shown(weight_decay_follows)}."
            )
        if not isinstance(fused, bool):
            raise ValueError(f"`fused` must be True or False. Received: {shown(fused)}.")
        argument = MultipliersArgument(multipliers)
        super().__init__(*args, **kwargs)
        self.weight_decay_follows = weight_decay_follows
        self.fused = fused
        self.callback_state: dict[str, Any] = {}
        self._multipliers_argument = argument
        self._groups: Groups | None = None
        self._model: weakref.ref[keras.Layer] | None = None
        self._states = StateByPlace()
        self._unbound: dict[str, Any] | None = None
        self._saved_config: dict[str, Any] | None = None
        self.continues_phases = False
        self._warning_at_next_step = ""
        self._first_rate = keras_private.live_learning_rate(self)
        if argument.plan is not None:
            freeze(argument.plan)

    # -- the plan -----------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The plan in force, with the multipliers of this moment.

        Raises:
            ValueError: If the optimizer was made without a plan and is not built yet, so that none is known.
            RuntimeError: On JAX between the batches of `fit`, before `model.jax_state_sync()`.
        """
        if self._groups is not None:
            changed = self._groups.multipliers()
            return with_multipliers(self._groups.plan, changed) if changed else self._groups.plan
        if self._multipliers_argument.plan is not None:
            return self._multipliers_argument.plan
        raise ValueError(
            "The optimizer is not built yet, so it has no plan. Call `optimizer.build(model.trainable_variables)` "
            "or `fit` first, or give it `multipliers=difflr.Plan(model, rules)`. difflr.plan_of(model) knows it before."
        )

    def plan_for(self, model: keras.Layer) -> Plan:
        """The plan in force for `model`, built or not; see `difflr.plan_of`.

        Args:
            model: The model that it trains.
        """
        if self._groups is None:
            return self._multipliers_argument.resolve(model.trainable_variables, model)
        if not any(row.variable in self._groups.plan for row in Plan(model).rows):
            return self.plan
        self.bind(model)
        trained = {id(variable) for variable in self._groups.trainable if variable.trainable}
        return with_frozen_by_hand(self.plan, trained)

    @property
    def multipliers(self) -> CurrentMultipliers:
        """Variable -> multiplier now, readable and, once built, settable: `optimizer.multipliers[layer] = 0.05`.

        The key is a variable, a layer or a path in the layer tree. Setting recompiles nothing. Variables in one group
        share a number, so the whole group has to be named.
        """
        return CurrentMultipliers(self.plan, self._groups)

    @property
    def has_multipliers(self) -> bool:
        """Whether it was made with multipliers, a plan or rules of its own."""
        return not self._multipliers_argument.is_none

    def rate_factors(self) -> dict[int, float]:
        """What the base rate is multiplied by at this step, by identity of the variable: multiplier, schedule, warm-up."""
        if self._groups is None:
            return {}
        factors = [float(keras.ops.convert_to_numpy(factor)) for factor in self._groups.rate_factors().values()]
        return {id(variable): factors[self._groups.of(n)] for n, variable in enumerate(self._groups.trainable)}

    @property
    def loaded_plan(self) -> Plan | None:
        """The plan with which the loaded state was saved, where another one is in force; `None` otherwise."""
        if self._saved_config is None:
            return None
        model = self._groups.plan.model or (self._model() if self._model is not None else None)
        if model is None:
            raise ValueError("The model is not known: call `optimizer.bind(model)` first.")
        return saved_plan.bind_to_model(self._saved_config, Plan(model))

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Resolves the plan for `variables`, freezes what it freezes, and makes the state for the others.

        Args:
            variables: The model's trainable variables.

        Raises:
            ValueError: If the plan does not cover them, or freezes them all, or trains a variable that was frozen by
                hand since, or names variables when there are none.
        """
        if self.built:
            return
        if not len(variables):
            build_checks.check_nothing_is_asked(self._multipliers_argument)
            self._build_for(Plan.from_rows([]), [])
            return
        model = self._model() if self._model is not None else None
        plan = self._multipliers_argument.resolve(list(variables), model)
        plan = without_decay(plan, [v for v in variables if v in plan and not keras_private.decays(self, v)])
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
        """Tells the optimizer which model its variables belong to: rules may then be path patterns.

        `compile` of `difflr.Model` and `difflr.Sequential` does this, and so do `difflr.plan_of` and phases. Keras gives
        an optimizer its variables only, which is enough to train exactly, also after loading; call it on a loaded,
        subclassed `keras.Model` whose plan froze BatchNormalization layers, so that the plan finds those layers again.

        Args:
            model: The model the optimizer is compiled with.

        Raises:
            ValueError: If the optimizer was built for variables of another model.
        """
        if self._groups is not None and self._groups.trainable:
            plan = self._groups.plan
            if self._unbound is not None:
                saved_plan.mark_frozen(model, self._unbound)
                bound = saved_plan.bind_to_model(self._unbound, Plan(model))
                build_checks.check_same_places(plan, bound)
            else:
                bound = plan if plan.model is model else tied_to(plan, model)
            self._states.move(plan, bound)
            self._groups.plan, self._unbound = bound, None
            freeze(bound)
        elif self._groups is None and model.built and self._multipliers_argument.config is None:
            # Keras lists what is unfrozen from here on.
            freeze(self._multipliers_argument.resolve(model.trainable_variables, model))
        self._model = weakref.ref(model)

    def replan(self, plan: Plan, *, warmup_steps: int = 0, own_bias_correction: bool = True) -> None:
        """Gives the optimizer another plan, with all state kept by variable; see `difflr.replan`.

        A compiled model has to make its step anew, which `difflr.replan(model, plan)` does, too.

        Args:
            plan: The new plan.
            warmup_steps: As for `difflr.replan`.
            own_bias_correction: As for `difflr.replan`.

        Raises:
            TypeError: If it is no plan.
            ValueError: If it trains nothing, or trains what `trainable = False` froze. Nothing has changed then.
        """
        build_checks.check_new_plan(plan)
        self._warning_at_next_step = ""
        if self._groups is None:
            self._multipliers_argument = MultipliersArgument(plan)
            freeze(plan)
            return
        found = self._entries()
        check_known(self, found)
        values = {key: as_numpy(variable) for key, variable in found.items()}
        step = int(keras.ops.convert_to_numpy(self.iterations))
        self._states.move(self._groups.plan, plan)
        moved = StateByPlace()
        moved.aside = values
        moved.move(self._groups.plan, plan)
        self._states.change(self._groups.plan, plan, step, warmup_steps, own_bias_correction)
        self._rebuild(plan, {**self._states.aside, **moved.aside})

    def _rebuild(self, plan: Plan, values: Mapping[Any, Any]) -> None:
        """Builds the optimizer for what `plan` trains, and gives the variables their state back.

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

    def _assign(self, values: Mapping[Any, Any]) -> None:
        late = int(keras.ops.convert_to_numpy(self.iterations)) > 0
        by_place = {row.place: row.variable for row in self._groups.plan.rows}
        for (place, name), variable in self._entries().items():
            value = values.get((place, name))
            if value is not None and tuple(value.shape) == tuple(variable.shape):
                variable.assign(value)
            elif name == keras_private.AVERAGES and late and place is not None:
                variable.assign(as_numpy(by_place[place]))  # an average that begins at 0 would draw the variable there

    def _entries(self) -> dict[Any, keras.Variable]:
        rows = [self._groups.plan.row(variable) for variable in self._groups.trainable]
        return entries(self, rows, self._states.before_build, self._groups.vector)

    # -- what Keras asks for ------------------------------------------------------------------------------------------

    def _rate_factors(self) -> dict[int, Any]:
        return self._groups.rate_factors()

    def _decay_factors(self) -> dict[int, Any]:
        multipliers = {number: each for number, each in enumerate(self._groups.weight_decay_multipliers) if each != 0}
        if self.weight_decay_follows != EFFECTIVE_RATE:
            return multipliers
        rates = self._groups.rate_factors(for_decay=True)
        return {number: rates[number] if each == 1 else rates[number] * each for number, each in multipliers.items()}

    def _group_number(self, variable: Any) -> int:
        return self._groups.of(self._variable_position(variable))

    def _places(self, variables: Sequence[Any]) -> dict[int, list[int]]:
        return self._groups.members(variables).by_group

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables, as in Keras; gradients of frozen variables are left out.

        Args:
            grads: Gradients.
            trainable_variables: Their variables; `None` for those the optimizer was built with.

        Raises:
            ValueError: If a variable that the plan freezes was unfrozen by hand.
        """
        if trainable_variables is None:
            self._warn_if_still_frozen()
            self._check_number(len(grads), "gradients")
            return super().apply(grads)
        trainable_variables = list(trainable_variables)
        if not self.built and len(grads):
            with keras.name_scope(self.name, caller=self):
                self.build(trainable_variables)
        self._warn_if_still_frozen()
        if self._groups is not None and self._groups.any_frozen:
            frozen = [variable for variable in trainable_variables if self._groups.is_frozen(variable)]
            if frozen:
                self._check_none_is_unfrozen(frozen)
                both = zip(grads, trainable_variables, strict=True)
                pairs = [(gradient, variable) for gradient, variable in both if not self._groups.is_frozen(variable)]
                grads, trainable_variables = [g for g, _ in pairs], [v for _, v in pairs]
        return super().apply(grads, trainable_variables)

    def _warn_if_still_frozen(self) -> None:
        if self._warning_at_next_step and not self.continues_phases:
            text, self._warning_at_next_step = self._warning_at_next_step, ""
            warnings.warn(text, stacklevel=2)

    def _check_none_is_unfrozen(self, frozen: Sequence[Any]) -> None:
        unfrozen = [self._groups.plan.row(variable) for variable in frozen if variable.trainable]
        if unfrozen:
            raise ValueError(
                f"`trainable = True` was set on {listed([row.path for row in unfrozen])}, and the plan of the "
                f"optimizer freezes it ({unfrozen[0].decided.get('frozen', 'multiplier 0')}), so it would not train. Make a "
                "plan that trains it: difflr.replan(model, plan)."
            )

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        """As in Keras, for JAX: `trainable_variables` and `grads` are those of the trainable variables.

        Raises:
            ValueError: If their number is another, the message says how many the plan freezes; or if their shapes are.
        """
        if self.built:
            self._check_number(len(trainable_variables), "trainable variables")
            self._check_shapes(trainable_variables)
        return super().stateless_apply(optimizer_variables, grads, trainable_variables)

    def _check_number(self, number: int, what: str) -> None:
        if self._groups is None or number == len(self._groups.trainable):
            return
        frozen = sum(row.frozen for row in self._groups.plan.rows)
        if number > len(self._groups.trainable) and frozen:
            raise ValueError(
                f"Received {number} {what}, but {len(self._groups.trainable)} variables are trainable: the plan freezes "
                f"{frozen}. "
                "Take `model.trainable_variables` after the optimizer was made and built."
            )

    def _check_shapes(self, values: Sequence[Any]) -> None:
        """JAX gives arrays without names: those of other variables would train at the rates of these."""
        for variable, value in zip(self._groups.trainable if self._groups else (), values, strict=False):
            if tuple(variable.shape) != tuple(value.shape):
                raise ValueError(
                    f"The optimizer was built for other variables: {self._groups.plan.row(variable).path} has the shape "
                    f"{tuple(variable.shape)}, and {tuple(value.shape)} came in its place. A layer was frozen or unfrozen "
                    "by hand since, or the model is another one: compile with a new optimizer."
                )

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """As in Keras; here it is saved with the plan.

        Raises:
            ValueError: If the optimizer is built already: Keras means to refuse this and does not.
        """
        if self.built:
            raise ValueError(
                "`exclude_from_weight_decay()` comes before the optimizer is built. In a plan it is a rule: "
                "difflr.Rule('*/bias', weight_decay_multiplier=0.0)."
            )
        super().exclude_from_weight_decay(var_list, var_names)

    def summary(self, print_function: Any = print) -> None:
        """Prints the plan with the effective rates of this moment.

        Args:
            print_function: What receives the text. Defaults to `print`.
        """
        rate = float(keras.ops.convert_to_numpy(self.learning_rate))
        print_function(self.plan.table(rate, keras_private.applications(self)))

    # -- saving -------------------------------------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The optimizer's own config, and the plan as data: paths and numbers.

        Raises:
            ValueError: If the optimizer is not built and its multipliers are a function, which only a build resolves.
        """
        config = super().get_config()
        config["weight_decay_follows"] = self.weight_decay_follows
        config["fused"] = self.fused
        built = self._groups is not None
        config["multipliers"] = {SAVED_PLAN: self._plan_config()} if built else self._multipliers_argument.to_config()
        return config

    def _plan_config(self) -> dict[str, Any]:
        """The plan in force as data, with what could not be bound to variables yet."""
        return saved_plan.to_config(self.plan) if self._unbound is None else self._unbound

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Saves the optimizer's state by variable, with the plan in force.

        Args:
            store: What Keras saves it in.
        """
        if self._groups is None:
            super().save_own_variables(store)
            return
        changed = self._groups.multipliers()
        places = {id(row.variable): row.place for row in self._groups.plan.rows}
        State(
            plan=saved_plan.to_config(self._groups.plan) if self._unbound is None else self._unbound,
            values={key: as_numpy(variable) for key, variable in self._entries().items()},
            aside=self._states.aside,
            starts=self._states.starts,
            seen=self._states.seen,
            multipliers={places[key]: number for key, number in changed.items()},
            learning_rate=self._first_rate if isinstance(self._first_rate, float) else None,
            callbacks=self.callback_state,
        ).save(store)

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Loads the optimizer's state, by variable.

        If the optimizer has another plan than the one that was saved, its own plan holds, and one warning says what is
        different. What the file has no state for starts fresh. The state of a stock optimizer of the same kind is
        loaded, too. An optimizer that is not built can take no state: Keras then warns and goes on without it.

        Args:
            store: What it was saved in.

        Raises:
            ValueError: If the file is damaged; the optimizer is then as it was.
        """
        state = {name: store[name] for name in list(store.keys())}
        if self._groups is None:
            super().load_own_variables(state)
        elif HEADER not in state:
            self._load_by_position(state)
        else:
            loading.load(self, State.load(state))

    def _load_by_position(self, state: dict[str, Any]) -> None:
        """Loads what a stock optimizer has saved, or one that was not built."""
        variables = [variable for variable in self.variables if variable is not self._groups.vector]
        if len(state) == len(self._states.before_build):
            variables = self._states.before_build
        if len(state) != len(variables):
            super().load_own_variables(state)  # which warns
            return
        for number, variable in enumerate(variables):
            variable.assign(state[str(number)])

    # What `loading` asks for.

    @property
    def plan_in_force(self) -> Plan:
        """The plan in force, with its own multipliers."""
        return self._groups.plan

    @property
    def first_rate(self) -> Any:
        """The base rate that the optimizer was made with: a number or a schedule."""
        return self._first_rate

    def state_entries(self) -> dict[Any, keras.Variable]:
        """What the optimizer keeps, by place and name."""
        return self._entries()

    def slot_names(self) -> set[str]:
        """The names of what it keeps for each variable."""
        return {name for place, name in self._entries() if place is not None}

    def take(self, plan: Plan, values: Any, starts: Any, seen: Any, state: State) -> None:
        """Takes a saved state.

        Args:
            plan: The plan in force from now on.
            values: All state, by place and name.
            starts: When variables joined, by place.
            seen: How many gradients the state of frozen variables has seen, by place.
            state: The saved state, for what concerns no variable.
        """
        self._states.starts, self._states.seen, self._states.aside = dict(starts), dict(seen), {}
        self._rebuild(plan, values)
        self.callback_state = dict(state.callbacks)
        self._warn_at_next_step(plan)

    @property
    def multipliers_changed(self) -> dict[int, float]:
        """The multipliers that were changed since the plan was made, by identity of the variable."""
        return self._groups.multipliers()

    def restore_multipliers(self, multipliers: Mapping[int, float]) -> None:
        """Sets multipliers that were changed before, by identity of the variable."""
        self._groups.restore(multipliers)

    def remember_saved_plan(self, config: dict[str, Any]) -> None:
        """Keeps the plan of the file for `loaded_plan`."""
        self._saved_config = config

    def _warn_at_next_step(self, plan: Plan) -> None:
        """Remembers to say that a phase is in force that nobody here has begun."""
        whole = {id(row.variable) for row in plan.whole.rows if not row.frozen}
        frozen = [row for row in plan.rows if row.frozen and id(row.variable) in whole]
        self._warning_at_next_step = build_checks.still_frozen(frozen) if frozen else ""
