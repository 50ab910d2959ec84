"""Rules as plain data, for the config of an unbuilt optimizer."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from difflr import checks
from difflr.checks import listed, shown
from difflr.plan import hyperparameters
from difflr.plan.rule import FIELDS, EverythingBut, Rule, Target, describe, flattened
from difflr.plan.schedule import schedule_from_json, schedule_to_json
from difflr.plan.targets import has_nothing_to_train

PATHS, NONE = "variables", "everything but"  # the keys for variables and for `everything_but`


def rules_to_config(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rules as plain data. Targets that are layers or variables become variable paths.

    Layers without trainable or frozen weights are left out.

    Raises:
        ValueError: If a target is a function, a class, or a layer that is not built.
    """
    return [
        {"target": target_to_config(rule.target, _paths_of), **values_to_config(rule)}
        for rule in rules
        if not all(map(has_nothing_to_train, flattened(rule.target)))
    ]


def target_to_config(target: Target, write_object: Callable[[Any], Any]) -> Any:
    """A target as plain data: text, a list of targets, or a mapping with one key.

    Args:
        target: The target.
        write_object: Function from a layer, variable, class or function to plain data.
    """
    if isinstance(target, str):
        return target
    if isinstance(target, (list, tuple)):
        return [target_to_config(item, write_object) for item in flattened(target) if not has_nothing_to_train(item)]
    if isinstance(target, EverythingBut):
        return {NONE: target_to_config(target.targets, write_object)}
    return write_object(target)


def _paths_of(target: Any) -> dict[str, list[str]]:
    """The variables of a layer, or a variable, by their paths, which a clone of the model also has."""
    variables = target.variables if isinstance(target, keras.Layer) else [target]
    unbuilt = isinstance(target, keras.Layer) and not target.built
    paths = [variable.path for variable in variables if isinstance(variable, keras.Variable)]
    if unbuilt or len(paths) != len(variables):
        raise ValueError(
            f"The rule for {describe(target)} cannot be saved before the optimizer is built: its target is not text, "
            "a variable or a built layer. Build the model first, or use a difflr.Plan."
        )
    return {PATHS: paths}


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
        config: What `target_to_config` returned.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(config, str):
        return config
    if isinstance(config, (list, tuple)):
        return tuple(map(target_from_config, config))
    inside = next(iter(config.values())) if isinstance(config, dict) and len(config) == 1 else None
    if isinstance(inside, list) and NONE in config:
        return EverythingBut(tuple(map(target_from_config, inside)))
    if isinstance(inside, list) and PATHS in config and all(isinstance(path, str) for path in inside):
        return _HasPath(frozenset(inside))
    raise ValueError(
        f"The target of a saved rule must be text, a list of targets, or a mapping of '{PATHS}' to paths or of '{NONE}' to "
        f"targets. Received: {shown(config)}."
    )


class _HasPath:
    """A target that matches variables with one of these `variable.path`s."""

    def __init__(self, paths: frozenset[str]):
        self.paths = paths

    def __call__(self, variable: keras.Variable) -> bool:
        return getattr(variable, "path", variable.name) in self.paths

    def __repr__(self) -> str:
        return f"the saved `variable.path` {listed(sorted(self.paths))}"
