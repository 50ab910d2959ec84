"""The differential optimizer: the Keras optimizer it is named after, with a rate per group of variables."""

import inspect
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.plan import Group, Plan, Row, VariableMapping, binding
from difflr.plan.rule import Rule, as_rules, checked_multiplier

FOLLOWS = ("effective_rate", "base_rate")
SAVED_PLAN = "plan"


class DifferentialOptimizer(keras_private.OptimizerHooks):
    """Gives a Keras optimizer a learning rate per variable; everything else is that optimizer.

    `optimizer.learning_rate` is the base rate: callbacks and schedules change it, and the ratios stay. The rate of a
    variable is the base rate times its multiplier (times its group's schedule). Variables that the plan freezes get
    `trainable = False`: no gradient, no optimizer state, no part in a clip norm. With all multipliers 1 it is, bit
    for bit, the optimizer it is named after.

    Args:
        multipliers: Who gets what. A `difflr.Plan`; a mapping (or list of pairs) from layers or variables to numbers or
            other values of a rule; one number for all; a function `variable -> number`; or `None`, the default: what
            the layers declare (`difflr.layers`), 1 elsewhere.
        weight_decay_follows: What decoupled weight decay is multiplied by: `"effective_rate"`, the default (a variable
            at a tenth of the rate decays a tenth as fast, as in `torch.optim.AdamW`), or `"base_rate"` (it decays
            alike at every rate, as in big_vision).

    Raises:
        ValueError: If a multiplier is negative, not finite or no number; on build, if the plan does not cover the
            variables.
        TypeError: If `multipliers` is of no known form.

    Example:

    ```python
    import keras
    import difflr

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")])
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
        weight_decay_follows: str = "effective_rate",
        **kwargs: Any,
    ):
        if weight_decay_follows not in FOLLOWS:
            raise ValueError(
                f"`weight_decay_follows` must be 'effective_rate' or 'base_rate'. Received: {weight_decay_follows!r}."
            )
        given = _Given(multipliers)
        super().__init__(*args, **kwargs)
        self.weight_decay_follows = weight_decay_follows
        self._given_multipliers = given
        self._groups: _Groups | None = None
        self._model: weakref.ref[keras.Layer] | None = None
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
    def multipliers(self) -> "LiveMultipliers":
        """Variable -> multiplier now, readable and, once built, settable: `optimizer.multipliers[layer] = 0.05`.

        Setting recompiles nothing. Variables in one group share a number, so the whole group has to be named.
        """
        return LiveMultipliers(self)

    def build(self, variables: Sequence[Any]) -> None:
        """Resolves the plan for `variables`, freezes what it freezes, and makes the state for the others.

        Args:
            variables: The model's trainable variables.

        Raises:
            ValueError: If the plan does not cover them, or freezes them all.
        """
        if self.built:
            return
        model = self._model() if self._model is not None else None
        plan = self._given_multipliers.resolve(list(variables), model)
        plan = plan._without_decay([v for v in variables if v in plan and not self._use_weight_decay(v)])
        plan.freeze()
        live = [variable for variable in variables if not plan.row(variable).frozen]
        if not live:
            raise ValueError(
                f"The plan freezes all {len(list(variables))} variables, so there is nothing to train. {plan!r}"
            )
        self._warn_of_decay_without_effect(plan)
        super().build(live)  # type: ignore[misc]
        self._groups = _Groups(plan, live, self)

    def _warn_of_decay_without_effect(self, plan: Plan) -> None:
        decays = [name for name in vars(self) if name.endswith("weight_decay") and getattr(self, name)]
        scaled = [row.path for row in plan.rows if not row.frozen and row.weight_decay_multiplier not in (0, 1)]
        if scaled and not decays:
            warnings.warn(
                f"The plan scales the weight decay of {len(scaled)} variables ({scaled[0]}, ...), but "
                f"{type(self).__name__} has `weight_decay=None`: it has no effect. Give the optimizer a `weight_decay`.",
                stacklevel=3,
            )

    def bind(self, model: keras.Layer) -> None:
        """Tells the optimizer which model its variables belong to: rules may then be path patterns.

        `compile` of `difflr.Model` and `difflr.Sequential` does this. Keras gives an optimizer its variables only, which
        is enough to train exactly, also after loading; call it on a loaded, subclassed `keras.Model` whose plan froze
        BatchNormalization layers, so that the plan finds those layers again.

        Args:
            model: The model the optimizer is compiled with.

        Raises:
            ValueError: If the optimizer was built for variables of another model.
        """
        self._model = weakref.ref(model)
        if self._groups is not None:
            self._groups.plan = self._groups.plan._tied_to(model)
            self._groups.plan.freeze()

    # -- what Keras asks for ------------------------------------------------------------------------------------------

    def _rate_factor(self, variable: Any) -> Any:
        return self._groups.rate_factor(self._groups.of(self._variable_position(variable)))

    def _by_group(self, variables: Sequence[Any]) -> Iterator[tuple[Any, Any, list[int]]]:
        members: dict[int, list[int]] = {}
        for position, variable in enumerate(variables):
            members.setdefault(self._groups.of(self._variable_position(variable)), []).append(position)
        for number, positions in members.items():
            rate = self._groups.rate_factor(number)
            decay = self._groups.plan_group(number).weight_decay_multiplier
            if self.weight_decay_follows == "effective_rate" and decay != 0:
                yield rate, (rate if decay == 1 else rate * decay), positions
            else:
                yield rate, decay, positions

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables, as in Keras; gradients of frozen variables are left out.

        Args:
            grads: Gradients.
            trainable_variables: Their variables; `None` for those the optimizer was built with.
        """
        if trainable_variables is None:
            self._check_number(len(grads), "gradients")
            return super().apply(grads)  # type: ignore[misc]
        trainable_variables = list(trainable_variables)
        if not self.built and len(grads):  # type: ignore[has-type]
            with keras.name_scope(self.name):  # type: ignore[attr-defined]
                self.build(trainable_variables)
        if self._groups is not None and self._groups.any_frozen:
            pairs = [
                (gradient, variable)
                for gradient, variable in zip(grads, trainable_variables, strict=True)
                if not self._groups.is_frozen(variable)
            ]
            grads, trainable_variables = [g for g, _ in pairs], [v for _, v in pairs]
        return super().apply(grads, trainable_variables)  # type: ignore[misc]

    def stateless_apply(self, optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
        """As in Keras, for JAX: `trainable_variables` and `grads` are those of the live variables.

        Raises:
            ValueError: If their number is another; the message says how many the plan freezes.
        """
        if self.built:
            self._check_number(len(trainable_variables), "trainable variables")
        return super().stateless_apply(optimizer_variables, grads, trainable_variables)  # type: ignore[misc]

    def _check_number(self, number: int, what: str) -> None:
        if self._groups is None or number == len(self._groups.live):
            return
        frozen = sum(row.frozen for row in self.plan.rows)
        if number > len(self._groups.live) and frozen:
            raise ValueError(
                f"Received {number} {what}, but {len(self._groups.live)} variables are live: the plan freezes {frozen}. "
                "Take `model.trainable_variables` after the optimizer was made and built."
            )

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """As in Keras; here it is saved with the plan.

        Raises:
            ValueError: If the optimizer is built already: Keras means to refuse this and does not.
        """
        if self.built:  # type: ignore[has-type]
            raise ValueError(
                "`exclude_from_weight_decay()` comes before the optimizer is built. In a plan it is a rule: "
                "difflr.Rule('*/bias', weight_decay_multiplier=0.0)."
            )
        super().exclude_from_weight_decay(var_list, var_names)  # type: ignore[misc]

    def summary(self, print_function: Any = print) -> None:
        """Prints the plan with the effective rates of this moment.

        Args:
            print_function: What receives the text. Defaults to `print`.
        """
        rate = float(keras.ops.convert_to_numpy(self.learning_rate))  # type: ignore[attr-defined]
        print_function(self._current_plan().table(rate))

    def _current_plan(self) -> Plan:
        """The plan with the multipliers of this moment."""
        if self._groups is None:
            return self.plan
        return self._groups.plan._with_multipliers(self._groups.current)

    def get_config(self) -> dict[str, Any]:
        """The optimizer's own config, and the plan as data: paths and numbers.

        Raises:
            ValueError: If the optimizer is not built and its rules are functions or objects, which only a build
                resolves to data.
        """
        config = super().get_config()  # type: ignore[misc]
        config["weight_decay_follows"] = self.weight_decay_follows
        if self._groups is not None:
            config["multipliers"] = {SAVED_PLAN: binding.to_config(self._groups.plan, self._groups.current)}
        else:
            config["multipliers"] = self._given_multipliers.to_config()
        return config

    def load_own_variables(self, store: Any) -> None:
        """Loads the optimizer's state.

        Raises:
            ValueError: If the number of variables differs; Keras would warn and go on without the state.
        """
        variables = self.variables  # type: ignore[attr-defined]
        if len(store.keys()) != len(variables):
            raise ValueError(
                f"The saved state of optimizer '{self.name}' has {len(store.keys())} variables, "  # type: ignore[attr-defined]
                f"this {type(self).__name__} has {len(variables)}. It was saved with another plan or another model: "
                "use the plan it was saved with, or load the model with `compile=False` and compile it anew."
            )
        super().load_own_variables(store)  # type: ignore[misc]


class _Given:
    """What `multipliers=` was given as, until the variables are known. A plain object: Keras would wrap a dict."""

    def __init__(self, value: Any):
        if isinstance(value, Mapping) and set(value) == {SAVED_PLAN}:
            binding.check_config(value[SAVED_PLAN])
        elif value is None or isinstance(value, Plan):
            pass
        elif isinstance(value, VariableMapping):
            value = [Rule.of(variable, each) for variable, each in value.items()]
        elif isinstance(value, (Mapping, list, tuple, Rule)):
            value = as_rules(value)
        elif callable(value) and not isinstance(value, (type, keras.Layer)):
            _check_takes_a_variable(value)
        elif isinstance(value, str) or isinstance(value, keras.Layer):
            raise TypeError(
                "`multipliers` must be a difflr.Plan, a mapping from layers or variables to numbers, a number, "
                f"a function variable -> number, or None. Received: {value!r}. "
                "For path patterns make a plan: multipliers=difflr.Plan(model, {'backbone': 0.1})."
            )
        else:
            value = checked_multiplier(value, "multipliers")
        self.value = value

    def resolve(self, variables: list[Any], model: keras.Layer | None) -> Plan:
        """The plan for `variables`, of `model` where it is known."""
        value = self.value
        if isinstance(value, Plan):
            unknown = [v for v in variables if v not in value]
            if unknown:
                raise ValueError(
                    f"The plan does not cover {len(unknown)} of the {len(variables)} variables the optimizer is "
                    f"built with, such as {getattr(unknown[0], 'path', unknown[0])}. It was made for another "
                    f"model, or the model was changed since: {value!r}. Make the plan for this model."
                )
            return value
        if isinstance(value, dict):
            plan = binding.bind_to_variables(value[SAVED_PLAN], variables, Plan._from_rows)
            if model is not None:
                return plan._tied_to(model)
            _warn_of_lost_statistics(value[SAVED_PLAN], plan)
            return plan
        known = variables if model is None else model
        if callable(value):
            return Plan(known, [Rule(v, multiplier=_multiplier_of(value, v)) for v in variables])
        if isinstance(value, float):
            return Plan(known) * value
        return Plan(known, value)

    def to_config(self) -> Any:
        """What `get_config` of an unbuilt optimizer holds."""
        if isinstance(self.value, Plan):
            return {SAVED_PLAN: binding.to_config(self.value)}
        if self.value is None or isinstance(self.value, (float, dict)):
            return self.value
        raise ValueError(
            "The multipliers of this optimizer are given as objects or a function, which cannot be saved before they "
            "are resolved. Build the optimizer first (`optimizer.build(model.trainable_variables)`, or one step), "
            "or give it a difflr.Plan."
        )


class _Groups:
    """The plan at work: for each live variable its group, for each group one scalar in the optimizer's state.

    One scalar variable per group, passed as state, compiles on XLA like a single rate; a constant per variable, or a
    vector indexed per variable, takes 5 to 15 times as long (150 variables, JAX on a CPU). As part of the state the
    numbers are saved and can change without recompiling.
    """

    def __init__(self, plan: Plan, live: list[Any], optimizer: Any):
        present = set(map(id, live))
        self.plan = plan
        self.live = live
        self._optimizer = optimizer
        self._groups = [group for group in plan.groups if any(id(row.variable) in present for row in group.rows)]
        number_of = {id(row.variable): number for number, group in enumerate(self._groups) for row in group.rows}
        self._number_at = [number_of[id(variable)] for variable in live]
        self._number_of_path = {row.path: number for number, group in enumerate(self._groups) for row in group.rows}
        self._frozen = {id(row.variable) for row in plan.rows if row.frozen}
        self.any_frozen = bool(self._frozen)
        self.scalars = [
            optimizer.add_variable(
                shape=(),
                initializer=keras.initializers.Constant(group.multiplier),
                dtype=keras.config.floatx(),
                aggregation="only_first_replica",
                name=f"multiplier_{number}",
            )
            for number, group in enumerate(self._groups)
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

    def rate_factor(self, number: int) -> Any:
        """The factor on the base rate at this step: a scalar tensor."""
        factor = keras.ops.convert_to_tensor(self.scalars[number])
        schedule = self._groups[number].schedule
        if schedule is None:
            return factor
        return factor * keras.ops.cast(schedule(self._optimizer.iterations), factor.dtype)

    def current(self, row: Row) -> float:
        """The multiplier of a live row now."""
        if row.path not in self._number_of_path:
            return row.multiplier
        return _shortest(keras.ops.convert_to_numpy(self.scalars[self._number_of_path[row.path]]), row.multiplier)

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
            name = getattr(target, "path", target)
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
                    f"{', ...' if len(left_out) > 4 else ''}. Name them all, or give them different numbers in the plan."
                )
        for number in dict.fromkeys(self._number_at[p] for p in positions):
            self.scalars[number].assign(multiplier)


class LiveMultipliers(VariableMapping):
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


def _shortest(number: Any, planned: float) -> float:
    """A stored number as a float: the planned one where it is still that, else as short as its precision allows."""
    if number == number.dtype.type(planned):
        return planned
    return float(str(number))


def _multiplier_of(function: Any, variable: Any) -> float:
    name = getattr(function, "__name__", repr(function))
    return checked_multiplier(function(variable), f"{name}({getattr(variable, 'path', variable.name)})")


def _check_takes_a_variable(function: Any) -> None:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise TypeError(
            f"A function given as `multipliers` takes one variable and returns its multiplier. Received: {function!r}."
        ) from None
    except ValueError:  # no signature to be had
        return


def _warn_of_lost_statistics(config: dict[str, Any], plan: Plan) -> None:
    if config["frozen_statistics"] != "keep":
        return
    lost = [
        row["path"]
        for row in config["rows"]
        if row["keeps_statistics"] and any(each.path == row["path"] and each.variable.trainable for each in plan.rows)
    ]
    if lost:
        warnings.warn(
            f"The saved plan froze BatchNormalization layers whole ({lost[0].rsplit('/', 1)[0]}, ...), and Keras did not "
            "save that they were not trainable, as the model is subclassed: their statistics would be updated. Call "
            "`model.optimizer.bind(model)` after loading, or derive the model from difflr.Model, which does it.",
            stacklevel=2,
        )


def differential(optimizer: Any) -> Any:
    """The differential version of any Keras optimizer: a class for a class, an instance for an unbuilt instance.

    Args:
        optimizer: A class derived from `keras.optimizers.Optimizer`, stock or third-party; an instance of one that
            is not built yet; or a name such as `"adam"`. A differential one is returned as it is. Around a
            `LossScaleOptimizer` the inner one is made differential.

    Returns:
        The class, which takes `multipliers` and `weight_decay_follows` besides its own arguments; or a new instance
        with the same settings. A class from outside Keras has to be made differential in the process that
        loads a model saved with it, too.

    Raises:
        TypeError: If it is no Keras optimizer.
        ValueError: If it is an instance that is built already, or a `MultiOptimizer` of stock optimizers.

    Example:

    ```python
    import keras
    import difflr

    AdamW = difflr.optimizers.differential(keras.optimizers.AdamW)
    optimizer = AdamW(1e-3, weight_decay=0.05, multipliers=0.5)
    optimizer = difflr.optimizers.differential(keras.optimizers.SGD(0.01, momentum=0.9))
    ```
    """
    if inspect.isclass(optimizer) and issubclass(optimizer, keras.optimizers.Optimizer):
        return _differential_class(optimizer)
    if isinstance(optimizer, (str, dict)):
        optimizer = keras.optimizers.get(optimizer)
    if isinstance(optimizer, DifferentialOptimizer):
        return optimizer
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TypeError(
            "Expected a Keras optimizer, its class or its name. "
            f"Received: {optimizer!r} (of type {type(optimizer).__name__})."
        )
    if optimizer.built:
        raise ValueError(
            f"The optimizer '{optimizer.name}' is built already; its state belongs to a stock optimizer. "
            f"Make a new one: difflr.optimizers.{type(optimizer).__name__}(..., multipliers=...)."
        )
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        config = {k: v for k, v in optimizer.get_config().items() if k != "inner_optimizer"}
        return keras.optimizers.LossScaleOptimizer(differential(optimizer.inner_optimizer), **config)
    if isinstance(optimizer, keras_private.MULTI_OPTIMIZERS):
        if all(isinstance(inner, DifferentialOptimizer) for inner in optimizer.optimizers):
            return optimizer
        raise ValueError(
            "A keras.optimizers.MultiOptimizer may hold differential optimizers, but is none itself. Make those it "
            "holds from difflr.optimizers, so that what the layers declare is not ignored."
        )
    config = {**optimizer.get_config(), "learning_rate": keras_private.live_learning_rate(optimizer)}
    result = _differential_class(type(optimizer)).from_config(config)
    keras_private.copy_weight_decay_exclusions(optimizer, result)
    return result


_CLASSES: dict[type, type] = {}


def _differential_class(stock: type) -> type:
    if issubclass(stock, DifferentialOptimizer):
        return stock
    base = keras_private.fast_class(stock)
    if base not in _CLASSES:
        _CLASSES[base] = _make_class(stock, base)
    return _CLASSES[base]


def _make_class(stock: type, base: type) -> type:
    in_keras = vars(keras.optimizers).get(base.__name__) is keras_private.public_class(base)
    package = "difflr" if in_keras else f"difflr.{base.__module__}"
    namespace = {
        "__module__": "difflr.optimizers",
        "__qualname__": base.__name__,
        "__doc__": _doc(stock),
        "__signature__": _signature(base),
    }
    cls = type(base.__name__, (DifferentialOptimizer, base), namespace)
    return keras.saving.register_keras_serializable(package=package)(cls)


def _signature(base: type) -> inspect.Signature:
    """The signature of `base` with the new arguments, keyword-only."""
    parameters = list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
    own = [
        parameter
        for parameter in inspect.signature(DifferentialOptimizer.__init__).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    rest = [p for p in parameters if p.kind is inspect.Parameter.VAR_KEYWORD]
    return inspect.Signature([*(p for p in parameters if p not in rest), *own, *rest])


# What a multiplier means where the update is not proportional to the rate.
_NOTES = {
    "Adafactor": (
        "The multiplier scales the rate that Adafactor is given. With `relative_step=True` (the default) Adafactor takes "
        "the smaller of that rate and `1 / sqrt(step)`, in any case for the size relative to the variable's own: "
        "the multiplier shows as soon as `rate * multiplier` is the smaller of the two, and not before."
    ),
    "Ftrl": (
        "The multiplier scales Ftrl's rate, which stands inside its accumulators: the variable moves as with a stock Ftrl "
        "of that rate, which is not proportional to it. `l1` and `l2` regularisation are not scaled."
    ),
    "Lamb": "Lamb already scales each update by the norm of its variable; the multiplier comes on top of that ratio.",
    "Lion": "Every weight moves by the rate itself (the update is a sign), so the multiplier is its exact ratio.",
    "Muon": (
        "The multiplier scales both of Muon's rates: that of the orthogonalised update, and `adam_lr_ratio` times "
        "it for the variables that Muon leaves to Adam."
    ),
    "ScheduleFreeAdamW": "The multiplier scales the internal rate, after the warm-up; the averaging is not changed.",
    "SGD": (
        "Keras keeps the rate inside the momentum (`v = momentum * v - rate * multiplier * g`), as the original request "
        "does: after a change of the multiplier, old momentum still has the old rate in it."
    ),
}


def _doc(stock: type) -> str:
    own = inspect.cleandoc(DifferentialOptimizer.__doc__ or "")
    note = _NOTES.get(stock.__name__, "The update is proportional to the rate: a multiplier is the ratio of the steps.")
    return (
        f"`{stock.__module__.split('.')[0]}` optimizer `{stock.__name__}` with a learning rate per variable.\n\n{note}\n\n"
        f"{own.split(chr(10), 1)[1].strip()}\n\nAll else is as in the optimizer itself:\n\n"
        f"{inspect.cleandoc(stock.__doc__ or '')}"
    )


def optimizer_classes() -> dict[str, type]:
    """The optimizers of `keras.optimizers`, by name: those that update variables themselves."""
    return {
        name: cls
        for name, cls in vars(keras.optimizers).items()
        if inspect.isclass(cls)
        and issubclass(cls, keras.optimizers.Optimizer)
        and cls is not keras.optimizers.Optimizer
        and name == cls.__name__
        and not issubclass(cls, (keras.optimizers.LossScaleOptimizer, *keras_private.MULTI_OPTIMIZERS))
    }
