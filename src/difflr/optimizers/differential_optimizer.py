"""The differential optimizer: the Keras optimizer it is named after, with a rate per group of variables."""

import warnings
import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import listed, shown
from difflr.optimizers import saved_state, torch_passes
from difflr.optimizers.groups import EFFECTIVE_RATE, Groups, check_held
from difflr.optimizers.multipliers_argument import SAVED_NUMBERS, SAVED_PLAN, Given
from difflr.optimizers.replan import Replanning
from difflr.optimizers.unstack import Tensor, unstack
from difflr.plan import Plan, VariableMapping, layer_tree, saved_plan

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

    VECTORISED_STEPS = torch_passes.NAMES

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
        given = Given(multipliers)
        super().__init__(*args, **kwargs)
        self.weight_decay_follows = weight_decay_follows
        self.fused = fused
        self._given_multipliers = given
        self._groups: Groups | None = None
        self._model: weakref.ref[keras.Layer] | None = None
        self._replanning = Replanning(self)
        if isinstance(multipliers, Plan):
            multipliers.freeze()

    # -- the plan -----------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The plan in force.

        Raises:
            ValueError: If the optimizer was given no plan and is not built yet, so that none is known.
        """
        if self._groups is not None:
            return self._groups.plan
        if isinstance(self._given_multipliers.value, Plan):
            return self._given_multipliers.value
        raise ValueError(
            "The optimizer is not built yet, so it has no plan. Call `optimizer.build(model.trainable_variables)` "
            "or `fit` first, or give it `multipliers=difflr.Plan(model, rules)`."
        )

    @property
    def multipliers(self) -> "CurrentMultipliers":
        """Variable -> multiplier now, readable and, once built, settable: `optimizer.multipliers[layer] = 0.05`.

        Setting recompiles nothing. Variables in one group share a number, so the whole group has to be named.
        """
        return CurrentMultipliers(self)

    def build(self, variables: Sequence[Any]) -> None:
        """Resolves the plan for `variables`, freezes what it freezes, and makes the state for the others.

        Args:
            variables: The model's trainable variables.

        Raises:
            ValueError: If the plan does not cover them, or freezes them all, or gives a rate to what was frozen by hand
                since, or says something of variables and there are none.
        """
        if self.built:
            return
        if not len(variables):
            self._build_for_nothing()
            return
        model = self._model() if self._model is not None else None
        plan = self._given_multipliers.resolve(list(variables), model)
        plan = plan._without_decay([v for v in variables if v in plan and not keras_private.decays(self, v)])
        self._check_the_others_train(plan, variables)
        trainable = [variable for variable in variables if not plan.row(variable).frozen]
        if not trainable:
            raise ValueError(
                f"The plan freezes all {len(list(variables))} variables, so there is nothing to train. {plan!r}"
            )
        rows = [plan.row(variable) for variable in trainable]
        check_held([row.multiplier for row in rows], [row.path for row in rows])
        plan.freeze()
        self._warn_of_decay_without_effect(plan)
        self._build_for(plan, trainable, self._given_multipliers.numbers)

    def _build_for_nothing(self) -> None:
        """As in Keras, where metrics and statistics can be computed with `fit`, unless somebody is to have a rate."""
        given = self._given_multipliers
        if isinstance(given.value, Plan) and all(row.frozen for row in given.value.rows):
            raise ValueError(f"The plan freezes everything, so there is nothing to train. {given.value!r}")
        if given.names_variables:
            raise ValueError(
                "The optimizer is built without variables, so there is nothing to train. Either no layer is trainable, or "
                "the model was saved in the legacy `.h5` format, from which Keras restores no optimizer: save it as "
                "`.keras`, or load it with `compile=False` and compile it anew."
            )
        warnings.warn("The model has no trainable variables: the optimizer trains nothing.", stacklevel=4)
        self._build_for(Plan._from_rows([], [], "keep"), [])

    def _build_for(self, plan: Plan, trainable: list[Any], numbers: list[float] | None = None) -> None:
        self._replanning.before_build(self.variables)
        super().build(trainable)
        self._groups = Groups(plan, trainable, self, numbers)

    def _check_the_others_train(self, plan: Plan, variables: Sequence[Any]) -> None:
        """Checks those with a rate that Keras does not list: an optimizer beside this one may train them."""
        listed = set(map(id, variables))
        others = [row for row in plan.rows if not row.frozen and id(row.variable) not in listed]
        by_hand = [row.path for row in others if layer_tree.frozen_by_hand(row.variable, row.layer)]
        if by_hand:
            raise ValueError(
                f"The plan gives a rate to {listed(by_hand)}, where `trainable = False` was set after the plan was "
                "made: it would have no effect. Make the plan anew, with what is frozen now, or freeze in the plan, with "
                "difflr.FROZEN."
            )
        late = [row.path for row in others if layer_tree.marked_frozen(row.variable)]
        if late:
            raise ValueError(
                f"An earlier plan froze {listed(late)}, so Keras builds the optimizer without them, and it is "
                "too late to unfreeze them. Make the new optimizer with `multipliers=difflr.Plan(model, rules)`, which unfreezes."
            )

    def _warn_of_decay_without_effect(self, plan: Plan) -> None:
        decays = [name for name in vars(self) if name.endswith("weight_decay") and getattr(self, name)]
        scaled = [row.path for row in plan.rows if not row.frozen and row.weight_decay_multiplier not in (0, 1)]
        if scaled and not decays:
            warnings.warn(
                f"The plan scales the weight decay of {len(scaled)} variables ({scaled[0]}, ...), but "
                f"{type(self).__name__} has `weight_decay=None`: it has no effect. Give it a `weight_decay`.",
                stacklevel=3,
            )

    def bind(self, model: keras.Layer) -> None:
        """Tells the optimizer which model its variables belong to: rules may then be path patterns.

        `compile` of `difflr.Model` and `difflr.Sequential` does this. Keras gives an optimizer its variables only,
        which is enough to train exactly, also after loading; call it on a loaded, subclassed `keras.Model` whose plan froze
        BatchNormalization layers, so that the plan finds those layers again.

        Args:
            model: The model the optimizer is compiled with.

        Raises:
            ValueError: If the optimizer was built for variables of another model, or was loaded and the order of the
                model's layers has changed since it was saved.
        """
        given = self._given_multipliers
        if self._groups is None and model.built and not isinstance(given.value, dict):
            given.resolve(model.trainable_variables, model).freeze()  # Keras lists what is unfrozen from here on
        if self._groups is not None:
            self._groups.plan = self._replanning.bound(model) or self._groups.plan._tied_to(model)
            self._groups.plan.freeze()
        self._model = weakref.ref(model)

    # -- what Keras asks for ------------------------------------------------------------------------------------------

    def _rate_factors(self) -> dict[int, Tensor]:
        return dict(enumerate(unstack(self._groups.factors())))

    def _decay_factors(self) -> dict[int, Tensor]:
        factors = enumerate(unstack(self._groups.decay_factors()))
        return {number: factor for number, factor in factors if self._groups.weight_decay_multipliers[number]}

    def _places(self, variables: Sequence[keras.Variable]) -> dict[int, list[int]]:
        return self._groups.members(variables).by_group

    def _vectorised_step(
        self, name: str, grads: list[Tensor], variables: Sequence[keras.Variable], learning_rate: Tensor
    ) -> None:
        torch_passes.run(name, self, self._groups, variables, grads, learning_rate)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables, as in Keras; gradients of frozen variables are left out.

        Args:
            grads: Gradients.
            trainable_variables: Their variables; `None` for those the optimizer was built with.

        Raises:
            ValueError: If a variable that the plan freezes was unfrozen by hand.
        """
        if trainable_variables is None:
            self._check_number(len(grads), "gradients")
            return super().apply(grads)
        trainable_variables = list(trainable_variables)
        if not self.built and len(grads):
            with keras.name_scope(self.name, caller=self):
                self.build(trainable_variables)
        if self._groups is not None and self._groups.any_frozen:
            frozen = [variable for variable in trainable_variables if self._groups.is_frozen(variable)]
            if frozen:
                self._check_none_is_unfrozen(frozen)
                both = zip(grads, trainable_variables, strict=True)
                pairs = [(gradient, variable) for gradient, variable in both if not self._groups.is_frozen(variable)]
                grads, trainable_variables = [g for g, _ in pairs], [v for _, v in pairs]
        return super().apply(grads, trainable_variables)

    def _check_none_is_unfrozen(self, frozen: Sequence[Any]) -> None:
        unfrozen = [self.plan.row(variable) for variable in frozen if variable.trainable]
        if unfrozen:
            raise ValueError(
                f"`trainable = True` was set on {listed([row.path for row in unfrozen])}, and the plan of the "
                f"optimizer freezes it ({unfrozen[0].decided.get('frozen', 'multiplier 0')}), so it would not train. Make a "
                "new plan and compile with a new optimizer; to unfreeze in the middle of a training there are phases."
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
        frozen = sum(row.frozen for row in self.plan.rows)
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
                    f"The optimizer was built for other variables: {self.plan.row(variable).path} has the shape "
                    f"{tuple(variable.shape)}, and {tuple(value.shape)} came in its place. Somebody was frozen or unfrozen by "
                    "hand since, or the model is another one: compile with a new optimizer."
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
        print_function(self._current_plan().table(rate, keras_private.applications(self)))

    def _current_plan(self) -> Plan:
        """The plan with the multipliers of this moment."""
        if self._groups is None:
            return self.plan
        return self._groups.plan._with_multipliers(self._groups.current())

    def get_config(self) -> dict[str, Any]:
        """The optimizer's own config, and the plan as data: paths and numbers.

        Raises:
            ValueError: If the optimizer is not built and its rules are functions or objects, which only a build
                resolves to data.
        """
        config = super().get_config()
        config["weight_decay_follows"] = self.weight_decay_follows
        config["fused"] = self.fused
        if self._groups is not None:
            config["multipliers"] = {
                SAVED_PLAN: saved_plan.to_config(self._groups.plan),
                SAVED_NUMBERS: self._groups.numbers(),
            }
        else:
            config["multipliers"] = self._given_multipliers.to_config()
        return config

    def save_own_variables(self, store: Any) -> None:
        """Saves the optimizer's state, and of which variables it is.

        Args:
            store: What Keras saves it in.
        """
        super().save_own_variables(store)
        store[saved_state.LAYOUT] = saved_state.as_array([] if self._groups is None else self._groups.layout())
        self._replanning.save(store)

    def load_own_variables(self, store: Any) -> None:
        """Loads the optimizer's state.

        The state of an optimizer that was saved before it was built is empty, and changes nothing. An optimizer that is
        not built itself can take none: Keras then warns and goes on without it.

        Args:
            store: What it was saved in.

        Raises:
            ValueError: If it is the state of other variables or of another plan, or is damaged; the optimizer is then as
                it was. Keras by itself compares the number of variables only, warns where it differs, and goes on
                without the state.
        """
        state = {name: store[name] for name in list(store.keys())}
        saved = state.pop(saved_state.LAYOUT, None)
        if self._groups is None:
            return super().load_own_variables(state)
        saved = None if saved is None else saved_state.layout_from_array(saved)
        if saved == []:
            return None
        model = self._model() if self._model is not None else None
        with self._replanning.undone_on_error(state, model):
            self._replanning.load(state, model)
            difference = saved and saved_state.difference(saved, self._groups.layout(), self._groups.plan.rows)
            if difference or len(state) != len(self.variables):
                raise ValueError(
                    f"The saved state of optimizer '{self.name}' has {len(state)} variables and does not fit this "
                    f"{type(self).__name__}, which has {len(self.variables)}. {difference or ''}\n"
                    "Use the optimizer and the plan it was saved with. To do without the state, load the model with "
                    "`compile=False` and compile it anew, or load its weights before the optimizer is built."
                )
            self._check_values(state)
        before = self._current_plan()
        super().load_own_variables(state)
        self._warn_of_other_multipliers(before)
        return None

    def _check_values(self, state: dict[str, Any]) -> None:
        """Checks what is assigned next, one variable after another: after an error nothing is half changed."""
        for number, variable in enumerate(self.variables):
            value: Any = state.get(str(number))
            shape = None if value is None else tuple(getattr(value, "shape", ()))
            if shape != tuple(variable.shape):
                raise ValueError(
                    f"The saved state of optimizer '{self.name}' does not fit: {variable.path} has the shape "
                    f"{tuple(variable.shape)}, and in the file {shape or 'none'}."
                )
            if variable is self._groups.vector and not (np.isfinite(value) & (np.asarray(value) > 0)).all():
                raise ValueError(
                    f"The saved state of optimizer '{self.name}' is damaged: a multiplier is a finite number above 0, and "
                    f"those in the file are {shown(list(map(float, value)))}. Use another copy of the file."
                )

    def _warn_of_other_multipliers(self, before: Plan) -> None:
        now = self._current_plan()
        changed = [
            f"{row.path} {row.multiplier:g} instead of {was.multiplier:g}"
            for row, was in zip(now.rows, before.rows, strict=True)
            if row.multiplier != was.multiplier
        ]
        if changed:
            warnings.warn(
                f"The multipliers of the saved state replace those of the plan: {listed(changed)}. They are part "
                "of the state, as the learning rate is; for others set `optimizer.multipliers[layer]` after loading.",
                stacklevel=3,
            )


class CurrentMultipliers(VariableMapping):
    """The multipliers of an optimizer at this moment, by variable; frozen ones are 0.

    Reading gives floats. Setting takes a layer or a variable and changes the next step, without recompiling.

    Args:
        optimizer: A differential optimizer.
    """

    def __init__(self, optimizer: DifferentialOptimizer):
        plan = optimizer._current_plan()
        super().__init__(
            [(row.variable, row.multiplier) for row in plan.rows], paths=lambda variable: plan.row(variable).path
        )
        self._optimizer = optimizer

    def __setitem__(self, target: Any, value: Any) -> None:
        if self._optimizer._groups is None:
            raise ValueError(
                "The optimizer is not built yet: set multipliers in its plan, or build it first "
                "(`optimizer.build(model.trainable_variables)`)."
            )
        self._optimizer._groups.set(target, value)
