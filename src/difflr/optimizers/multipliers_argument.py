"""The argument `multipliers` of an optimizer, and its plan."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from difflr.checks import checked_multiplier, shown
from difflr.plan import Plan, Rule, VariableMapping, declared, freezing, layer_tree, saved_plan, saved_rules
from difflr.plan.bind_to_variables import bind_to_variables
from difflr.plan.rebinding import tied_to, with_layers
from difflr.plan.rule import as_rules, named_objects
from difflr.signatures import why_it_does_not_take
from difflr.text_table import counted

# The keys of a config that distinguish plans and rules from a mapping of layers.
SAVED_PLAN = "plan"
SAVED_RULES = "rules"


class MultipliersArgument:
    """The argument `multipliers`, until the variables are known. A plain object, as Keras would wrap a dict.

    Args:
        value: A plan, rules in any form, a number, a function, `None`, or what `to_config` returned.

    Raises:
        TypeError: If it is none of these.
        ValueError: If a multiplier in it is invalid.
    """

    def __init__(self, value: Any):
        self.plan: Plan | None = None
        self.config: dict[str, Any] | None = None
        self.rules: list[Rule] | None = None
        self.function: Callable[[Any], float] | None = None
        self.number: float | None = None
        if isinstance(value, Plan):
            self.plan = value
        elif isinstance(value, VariableMapping):  # its keys are not hashable, so they form no set
            self.rules = [Rule.of(variable, number) for variable, number in value.items()]
        elif isinstance(value, Mapping) and set(value) == {SAVED_PLAN}:
            saved_plan.check_config(value[SAVED_PLAN])
            self.config = value[SAVED_PLAN]
        elif isinstance(value, Mapping) and set(value) == {SAVED_RULES}:
            self.rules = saved_rules.rules_from_config(value[SAVED_RULES])
        elif isinstance(value, (Mapping, list, tuple, Rule)):
            self.rules = as_rules(value)
        elif isinstance(value, (str, keras.Layer)):
            raise TypeError(
                "`multipliers` must be a difflr.Plan, a mapping from layers or variables to numbers, a number, "
                f"a function variable -> number, or None. Received: {shown(value)}. "
                "For path patterns make a plan: multipliers=difflr.Plan(model, {'backbone': 0.1})."
            )
        elif callable(value) and not isinstance(value, type):
            if why_it_does_not_take(value, None):
                raise TypeError(
                    f"A function as `multipliers` takes one variable and returns its multiplier. Received: {shown(value)}."
                )
            self.function = value
        elif value is not None:
            self.number = checked_multiplier(value, "multipliers")

    @property
    def names_variables(self) -> bool:
        """Whether it refers to particular variables."""
        if self.config is not None:
            return bool(self.config["rows"])
        return self.plan is not None or self.rules is not None or self.function is not None

    def resolve(
        self, variables: Sequence[keras.Variable], model: keras.Layer | None, learning_rate: object = None
    ) -> Plan:
        """The plan for `variables` of `model`.

        Args:
            variables: The trainable variables by Keras.
            model: Their model, or `None`.
            learning_rate: The optimizer's base rate: learning rates in rules are relative to it if it is a number.

        Raises:
            ValueError: If it does not fit them.
        """
        if self.plan is not None:
            return self._covering(self.plan, variables)
        if self.config is not None:
            return self._bound(self.config, variables, model)
        known = [*variables, *self._frozen_before(variables)] if model is None else model
        if self.function is not None:
            return Plan(known, [Rule(v, multiplier=_multiplier_of(self.function, v)) for v in variables])
        base_rate = learning_rate if isinstance(learning_rate, float) and learning_rate > 0 else None
        plan = Plan(known, self.rules, learning_rate=base_rate)
        if self.number is not None:
            plan = plan * self.number
        return plan if model is not None else with_layers(plan, self._known_layers(known))

    def _covering(self, plan: Plan, variables: Sequence[keras.Variable]) -> Plan:
        unknown = [variable for variable in variables if variable not in plan]
        if unknown:
            raise ValueError(
                f"The plan does not cover {len(unknown)} of the {counted(len(variables), 'variable')} the optimizer is "
                f"built with, such as {getattr(unknown[0], 'path', unknown[0])}. It was made for another "
                f"model, or the model was copied or changed since: {plan!r}. Make a plan for this model, or "
                "convert it: difflr.Plan.from_json(model, plan.to_json())."
            )
        return plan

    def _bound(self, config: dict[str, Any], variables: Sequence[keras.Variable], model: keras.Layer | None) -> Plan:
        if model is not None:
            saved_plan.mark_frozen(model, config)
            fresh = Plan(model)
            if saved_plan.has_places(config, fresh, variables):
                return saved_plan.bind_to_model(config, fresh)
        plan = bind_to_variables(config, variables)
        if model is not None:
            return tied_to(plan, model)
        _warn_of_lost_statistics(config, plan)
        return plan

    def _known_layers(self, variables: Sequence[keras.Variable]) -> list[keras.Layer]:
        """The layers to use without a model: those in rules, and those that declare multipliers."""
        return [known for known in self._named() if isinstance(known, keras.Layer)] + declared.declaring_layers(
            variables
        )

    def _named(self) -> list[keras.Layer | keras.Variable]:
        """The layers and variables in rules."""
        return [known for rule in self.rules or [] for known in named_objects(rule.target)]

    def _frozen_before(self, variables: Sequence[keras.Variable]) -> list[keras.Variable]:
        """The variables in rules that an earlier plan froze, so that Keras does not list them."""
        listed = set(map(id, variables))
        found: dict[int, keras.Variable] = {}
        for named in self._named():
            leaves = layer_tree.walk(named) if isinstance(named, keras.Layer) else layer_tree.flat([named])
            inside = [leaf.variable for leaf in leaves if leaf.variable is not None]
            found |= {id(v): v for v in inside if freezing.marked_frozen(v) and id(v) not in listed}
        return list(found.values())

    def to_config(self) -> Any:
        """The config of an unbuilt optimizer.

        Raises:
            ValueError: If it is a function, which can be saved only once the variables are known.
        """
        if self.plan is not None:
            return {SAVED_PLAN: saved_plan.to_config(self.plan)}
        if self.config is not None:
            return {SAVED_PLAN: self.config}
        if self.rules is not None:
            return {SAVED_RULES: saved_rules.rules_to_config(self.rules)}
        if self.function is not None:
            raise ValueError(
                "The multipliers of this optimizer are a function, which cannot be saved before the variables are known. "
                "Build the optimizer first (`optimizer.build(model.trainable_variables)`, or one step), or use a "
                "difflr.Plan."
            )
        return self.number


def _multiplier_of(function: Callable[[Any], float], variable: keras.Variable) -> float:
    name = getattr(function, "__name__", repr(function))
    return checked_multiplier(function(variable), f"{name}({getattr(variable, 'path', variable.name)})")


def _warn_of_lost_statistics(config: dict[str, Any], plan: Plan) -> None:
    if config["frozen_statistics"] != "keep":
        return
    trainable = {row.place for row in plan.rows if row.variable.trainable}
    lost = [row["path"] for row in config["rows"] if row["keeps_statistics"] and row["place"] in trainable]
    if lost:
        warnings.warn(
            f"The saved plan froze BatchNormalization layers whole ({lost[0].rsplit('/', 1)[0]}, ...), and Keras did "
            "not save that they were not trainable, as the model is subclassed: their statistics would be updated. Call "
            "`model.optimizer.bind(model)` after loading, or derive the model from difflr.Model, which does it.",
            stacklevel=2,
        )
