"""Rules as plain data, for the config of an unbuilt optimizer."""

from collections.abc import Sequence
from typing import Any

import keras

from difflr import checks
from difflr.checks import shown
from difflr.plan import hyperparameters
from difflr.plan.rule import FIELDS, EverythingBut, Rule, Target, describe, flattened
from difflr.plan.schedule import schedule_from_json, schedule_to_json
from difflr.plan.targets import has_nothing_to_train

ANY, NONE = "any of", "everything but"  # the keys for lists of targets and for `everything_but`


def rules_to_config(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules as plain data. Targets that are layers or variables become variable paths.

    Layers without trainable or frozen weights are left out.

    Raises:
        ValueError: If a target is a function, a class, or a layer that is not built.
    """
    return [
        {"target": _target_to_config(rule.target), **values_to_config(rule)}
        for rule in rules
        if not all(map(has_nothing_to_train, flattened(rule.target)))
    ]


def _target_to_config(target: Target) -> Any:
    if isinstance(target, str):
        return target
    if isinstance(target, (list, tuple)):
        return {ANY: [_target_to_config(item) for item in flattened(target) if not has_nothing_to_train(item)]}
    if isinstance(target, EverythingBut):
        return {NONE: list(map(_target_to_config, target.targets))}
    variables = target.variables if isinstance(target, keras.Layer) else [target]
    unbuilt = isinstance(target, keras.Layer) and not target.built
    paths = [variable.path for variable in variables if isinstance(variable, keras.Variable)]
    if unbuilt or len(paths) != len(variables):
        raise ValueError(
            f"The rule for {describe(target)} cannot be saved before the optimizer is built: its target is not text, "
            "a variable or a built layer. Build the model first, or use a difflr.Plan."
        )
    return paths


def values_to_config(rule: Rule) -> dict[str, Any]:
    """What a rule sets, as plain data.

    Args:
        rule: The rule.
    """
    values = {field: value for field in FIELDS if (value := getattr(rule, field)) is not None}
    if rule.schedule is not None:
        values["schedule"] = schedule_to_json(rule.schedule)
    if rule.hyperparameters is not None:
        values["hyperparameters"] = hyperparameters.to_json(rule.hyperparameters)
    return values


def rules_from_config(config: Any) -> list[Rule]:
    """Restore rules from `rules_to_config`, for optimizers that know only variables.

    Raises:
        ValueError: If it is not a list of rules.
    """
    checks.check(config, "The rules")
    if not isinstance(config, list) or not all(isinstance(entry, dict) and "target" in entry for entry in config):
        raise ValueError(f"Saved rules must be a list of mappings with a 'target'. Received: {shown(config)}.")
    rules = []
    for entry in config:
        values = {name: value for name, value in entry.items() if name != "target"}
        checks.check_fields(values, FIELDS, "A saved rule")
        if values.get("schedule") is not None:
            values["schedule"] = schedule_from_json(values["schedule"])
        if isinstance(values.get("hyperparameters"), dict):
            values["hyperparameters"] = hyperparameters.from_json(values["hyperparameters"])
        rules.append(Rule(target_from_config(entry["target"]), **values))
    return rules


def target_from_config(config: Any) -> Target:
    """The target of a saved rule.

    Args:
        config: Text, a list of variable paths, or a mapping from `ANY` or `NONE` to targets.

    Raises:
        ValueError: If it is none of these.
    """
    if isinstance(config, str):
        return config
    if isinstance(config, list) and all(isinstance(path, str) for path in config):
        return _HasPath(frozenset(config))
    if isinstance(config, dict) and len(config) == 1 and isinstance(inside := config.get(ANY, config.get(NONE)), list):
        targets = tuple(map(target_from_config, inside))
        return targets if ANY in config else EverythingBut(targets)
    raise ValueError(
        f"The target of a saved rule must be text, a list of paths, or a mapping of '{ANY}' or '{NONE}' to targets. "
        f"Received: {shown(config)}."
    )


class _HasPath:
    """A target that matches variables with one of these `variable.path`s, which a clone of the model also has."""

    def __init__(self, paths: frozenset[str]):
        self.paths = paths

    def __call__(self, variable: keras.Variable) -> bool:
        return getattr(variable, "path", variable.name) in self.paths
