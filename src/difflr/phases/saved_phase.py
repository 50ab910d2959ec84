"""Phases to and from plain data."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras

from difflr.checks import did_you_mean, shown
from difflr.phases.rules_of_phase import RulesOfPlan
from difflr.plan import saved_rules
from difflr.plan.rule import Rule, Target, describe, flattened
from difflr.plan.schedule import schedule_from_json, schedule_to_json

if TYPE_CHECKING:
    from difflr.phases.phase import Phase

PLAN = "plan"  # the key of rules that are a whole plan
BY_HAND = "next_phase"


def objects_in(phase: "Phase") -> list[Any]:
    """The targets of a phase and its rules that are objects: layers, variables, classes, functions.

    Args:
        phase: The phase.
    """
    targets = [*phase.trainable, *(rule.target for rule in phase.multipliers or ())]
    return [target for target in flattened(targets, True) if not isinstance(target, str)]


def to_config(phase: "Phase", name_objects: bool = False) -> dict[str, Any]:
    """The arguments that differ from the defaults, as plain data.

    Args:
        phase: The phase.
        name_objects: Whether to write objects by their names in tables, which cannot be read back.

    Raises:
        ValueError: If there are objects and `name_objects` is `False`.
    """
    objects = [describe(thing) for thing in objects_in(phase)]
    if objects and not name_objects:
        raise ValueError(
            f"A phase can be saved if its targets are text. Received: {', '.join(objects)}. Use the layer-tree path, "
            "which print(difflr.Plan(model)) shows."
        )
    fields = {field.name: field.default for field in dataclasses.fields(phase) if field.name != "trainable"}
    changed = {name: value for name, default in fields.items() if (value := getattr(phase, name)) is not default}
    changed = {name: value for name, value in changed.items() if callable(value) or value != fields[name]}
    if phase.schedule is not None:
        changed["schedule"] = schedule_to_json(phase.schedule)
    if phase.multipliers is not None:
        rules = _rules_to_config(phase.multipliers)
        changed["multipliers"] = {PLAN: rules} if isinstance(phase.multipliers, RulesOfPlan) else rules
    if callable(phase.until):
        changed["until"] = describe(phase.until) if name_objects else _name_of(phase.until)
    return {"trainable": [saved_rules.target_to_config(target, describe) for target in phase.trainable], **changed}


def _rules_to_config(rules: Sequence[Rule]) -> Any:
    """A mapping from targets to values if possible, otherwise a list of mappings with a `target`."""
    entries = [
        {**saved_rules.values_to_config(rule), "target": saved_rules.target_to_config(rule.target, describe)}
        for rule in rules
    ]
    targets = [entry["target"] for entry in entries]
    if not all(isinstance(target, str) for target in targets) or len(set(targets)) < len(targets):
        return entries
    short = {}
    for entry in entries:
        values = {axis: value for axis, value in entry.items() if axis != "target"}
        short[entry["target"]] = values["multiplier"] if set(values) == {"multiplier"} else values
    return short


def _name_of(function: Callable[..., Any]) -> str:
    """The name under which a function is registered with Keras."""
    name: str = keras.saving.get_registered_name(function)
    if keras.saving.get_registered_object(name) is not function:
        raise ValueError(
            f"A phase can be saved if its `until` is a function that Keras knows by name. Received: {describe(function)}. "
            'Put @keras.saving.register_keras_serializable("mine") above it.'
        )
    return name


def from_config(config: Any, known: Sequence[str]) -> dict[str, Any]:
    """The arguments of a phase from the output of `to_config`.

    Args:
        config: The plain data.
        known: The names of all arguments.

    Raises:
        ValueError: If it is not a phase.
    """
    if not isinstance(config, Mapping) or "trainable" not in config:
        raise ValueError(f"A phase is a mapping with at least 'trainable'. Received: {shown(config)}.")
    unknown = [name for name in config if name not in known]
    if unknown:
        hint = did_you_mean(str(unknown[0]), known)
        raise ValueError(
            f"A phase has no {', '.join(map(shown, unknown[:8]))}.{hint} Expected some of: {', '.join(known)}."
        )
    made = dict(config)
    made["trainable"] = _targets_from_config(config["trainable"])
    if made.get("schedule") is not None:
        made["schedule"] = schedule_from_json(made["schedule"])
    if made.get("multipliers") is not None:
        made["multipliers"] = _rules_from_config(made["multipliers"])
    if isinstance(until := made.get("until"), str) and until != BY_HAND:
        made["until"] = keras.saving.get_registered_object(until)
        if not callable(made["until"]) or inspect.isclass(made["until"]):
            raise ValueError(
                f"Keras knows no function {shown(until)}, which 'until' names: run the code first that registers it with "
                "@keras.saving.register_keras_serializable()."
            )
    elif not isinstance(until, (str, type(None))):
        raise ValueError(f"'until' of a saved phase is text. Received: {shown(until)}.")
    return made


def _targets_from_config(config: Any) -> list[Target]:
    targets = config if isinstance(config, (list, tuple)) else [config]
    if not all(isinstance(target, (str, Mapping)) for target in targets):
        raise ValueError(f"'trainable' of a saved phase is text, or a list of texts. Received: {shown(config)}.")
    return list(map(saved_rules.target_from_config, targets))


def _rules_from_config(config: Any) -> tuple[Rule, ...]:
    if isinstance(config, Mapping) and set(config) == {PLAN} and isinstance(config[PLAN], (list, Mapping)):
        return RulesOfPlan(_rules_from_config(config[PLAN]))
    if isinstance(config, Mapping):
        entries = [
            {**(value if isinstance(value, Mapping) else {"multiplier": value}), "target": target}
            for target, value in config.items()
        ]
    elif isinstance(config, (list, tuple)) and all(isinstance(entry, Mapping) for entry in config):
        entries = list(map(dict, config))
    else:
        raise ValueError(
            "'multipliers' of a saved phase is a mapping from targets to numbers or other values of a rule, or a list of "
            f"mappings with a 'target'. Received: {shown(config)}."
        )
    return tuple(saved_rules.rules_from_config(entries))
