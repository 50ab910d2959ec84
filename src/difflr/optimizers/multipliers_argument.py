"""What `multipliers=` was given as, and the plan it comes to."""

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import keras

from difflr.checks import checked_multiplier, shown
from difflr.plan import Plan, VariableMapping, declared, layer_tree, saved_plan
from difflr.plan.rule import Rule, as_rules

SAVED_PLAN = "plan"
SAVED_NUMBERS = "now"  # the multiplier of each group when it was saved: those of a plan can be changed while it trains


class Given:
    """What `multipliers=` was given as, until the variables are known. A plain object: Keras would wrap a dict."""

    def __init__(self, value: Any):
        self.numbers: list[float] | None = None
        if value is None or isinstance(value, Plan):
            pass
        elif isinstance(value, VariableMapping):  # has no hashable keys, of which there could be a set
            value = [Rule.of(variable, each) for variable, each in value.items()]
        elif isinstance(value, Mapping) and set(value) in ({SAVED_PLAN}, {SAVED_PLAN, SAVED_NUMBERS}):
            saved_plan.check_config(value[SAVED_PLAN])
            numbers = value.get(SAVED_NUMBERS, [])
            if not isinstance(numbers, (list, tuple)):
                raise ValueError(f"The multipliers of the saved plan's groups are no list. Received: {shown(numbers)}.")
            self.numbers = [checked_multiplier(each, "multiplier of a group") for each in numbers]
        elif isinstance(value, (Mapping, list, tuple, Rule)):
            value = as_rules(value)
        elif callable(value) and not isinstance(value, (type, keras.Layer)):
            _check_takes_a_variable(value)
        elif isinstance(value, (str, keras.Layer)):
            raise TypeError(
                "`multipliers` must be a difflr.Plan, a mapping from layers or variables to numbers, a number, "
                f"a function variable -> number, or None. Received: {shown(value)}. "
                "For path patterns make a plan: multipliers=difflr.Plan(model, {'backbone': 0.1})."
            )
        else:
            value = checked_multiplier(value, "multipliers")
        self.value = value

    @property
    def names_variables(self) -> bool:
        """Whether it says something of particular variables, so that there have to be some."""
        saved = isinstance(self.value, dict)
        return bool(self.value[SAVED_PLAN]["rows"]) if saved else not isinstance(self.value, (float, type(None)))

    def resolve(self, variables: list[Any], model: keras.Layer | None) -> Plan:
        """The plan for `variables`, of `model` where it is known."""
        value = self.value
        if isinstance(value, Plan):
            unknown = [v for v in variables if v not in value]
            if unknown:
                raise ValueError(
                    f"The plan does not cover {len(unknown)} of the {len(variables)} variables the optimizer is "
                    f"built with, such as {getattr(unknown[0], 'path', unknown[0])}. It was made for another "
                    f"model, or the model was copied or changed since: {value!r}. Make the plan for this model, or "
                    "take it along: difflr.Plan.from_json(model, plan.to_json())."
                )
            return value
        if isinstance(value, dict):
            config = value[SAVED_PLAN]
            fresh = None if model is None else Plan(model)
            if fresh is not None and saved_plan.has_paths(config, fresh, variables):
                return saved_plan.bind_to_model(config, fresh, Plan._from_rows)
            plan = saved_plan.bind_to_variables(config, variables, Plan._from_rows, fresh)
            if model is not None:
                return plan._tied_to(model)
            _warn_of_lost_statistics(config, plan)
            return plan
        known = [*variables, *self._frozen_before(variables)] if model is None else model
        if callable(value):
            plan = Plan(known, [Rule(v, multiplier=_multiplier_of(value, v)) for v in variables])
        elif isinstance(value, float):
            plan = Plan(known) * value
        else:
            plan = Plan(known, value)
        return plan if model is not None else plan._with_layers(self._known_layers())

    def _known_layers(self) -> list[keras.Layer]:
        """Without a model, the layers to be known: those in rules, and those that declare multipliers."""
        rules = self.value if isinstance(self.value, list) else []
        return [rule.target for rule in rules if isinstance(rule.target, keras.Layer)] + declared.layers()

    def _frozen_before(self, variables: list[Any]) -> list[Any]:
        """What rules speak of and Keras does not list, since an earlier plan froze it."""
        listed = set(map(id, variables))
        found: dict[int, Any] = {}
        for rule in self.value if isinstance(self.value, list) else []:
            layer = isinstance(rule.target, keras.Layer)
            targets = [leaf.variable for leaf in layer_tree.walk(rule.target)] if layer else [rule.target]
            found |= {id(each): each for each in targets if layer_tree.marked_frozen(each) and id(each) not in listed}
        return list(found.values())

    def to_config(self) -> Any:
        """What `get_config` of an unbuilt optimizer holds."""
        if isinstance(self.value, Plan):
            return {SAVED_PLAN: saved_plan.to_config(self.value)}
        if self.value is None or isinstance(self.value, (float, dict)):
            return self.value
        raise ValueError(
            "The multipliers of this optimizer are given as objects or a function, which cannot be saved before they "
            "are resolved. Build the optimizer first (`optimizer.build(model.trainable_variables)`, or one step), "
            "or give it a difflr.Plan."
        )


def _multiplier_of(function: Any, variable: Any) -> float:
    name = getattr(function, "__name__", repr(function))
    return checked_multiplier(function(variable), f"{name}({getattr(variable, 'path', variable.name)})")


def _check_takes_a_variable(function: Any) -> None:
    try:
        inspect.signature(function).bind(None)
    except TypeError:
        raise TypeError(
            f"A function given as `multipliers` takes one variable and returns its multiplier. Received: {shown(function)}."
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
            f"The saved plan froze BatchNormalization layers whole ({lost[0].rsplit('/', 1)[0]}, ...), and Keras did "
            "not save that they were not trainable, as the model is subclassed: their statistics would be updated. Call "
            "`model.optimizer.bind(model)` after loading, or derive the model from difflr.Model, which does it.",
            stacklevel=2,
        )
