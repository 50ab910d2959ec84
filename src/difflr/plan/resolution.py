"""Resolves rules against the variables of a model, and reports rules without effect."""

import itertools
import warnings
from collections.abc import Iterable
from typing import Any

import keras

from difflr.plan import layer_tree
from difflr.plan.declared import declared_multipliers
from difflr.plan.rows import BY_USER, DECLARED, Row, StatisticsLayer
from difflr.plan.rule import AXES, Rule, describe, flattened, named_objects
from difflr.plan.schedule import LARGEST_LOOKING_LIKE_A_RATE, Constant
from difflr.plan.targets import Match, Targets, has_nothing_to_train, layers_inside


def leaves_of(model: Any) -> list[layer_tree.Leaf]:
    """The checked leaves of a model or a list of variables; a list of leaves is returned unchanged."""
    if isinstance(model, keras.Layer):
        leaves = layer_tree.walk(model)
        empty = not any(leaf.variable is not None for leaf in leaves)
        unbuilt = [layer for layer in layers_inside(model) if not layer.built]
        name = f"{type(model).__name__} '{model.name}'"
        if (empty and not model.built) or (unbuilt and (empty or not model.built)):
            which = f" (nor is its layer '{unbuilt[0].name}')" if unbuilt and not empty else ""
            raise ValueError(
                f"{name} is not built{which}, so {'it has no' if empty else 'some of its'} variables "
                f"{'yet' if empty else 'do not exist yet'}. Build it first: `model.build(input_shape)`, or call it once "
                "on a batch."
            )
        if empty:
            raise ValueError(f"{name} has no trainable variables, so there is nothing to plan.")
        return leaves
    if isinstance(model, Iterable) and not isinstance(model, (str, keras.Variable)):
        variables = list(model)
        if variables and all(isinstance(variable, layer_tree.Leaf) for variable in variables):
            return variables
        if variables and all(hasattr(variable, "shape") and hasattr(variable, "name") for variable in variables):
            return layer_tree.flat(variables)
    raise TypeError(
        "A plan is made for a built Keras model or layer, or for a list of variables. "
        f"Received: {model!r} (of type {type(model).__name__})."
    )


# For one path of one variable: axis -> (value, position of the rule; -1: the layer's declaration).
_Decisions = dict[str, tuple[Any, int]]


def resolve(
    leaves: list[layer_tree.Leaf],
    model: keras.Layer | None,
    rules: list[Rule],
    base_rate: float | None = None,
) -> tuple[list[Row], list[StatisticsLayer]]:
    """The rows of the plan, and the layers that only own statistics.

    Args:
        leaves: The leaves of the model, or of the variables.
        model: The model, if known.
        rules: The rules; later ones win.
        base_rate: The optimizer's base rate, for rules that set a learning rate.

    Raises:
        ValueError: If a rule matches nothing or has no effect, or rules disagree about a shared variable.
    """
    for rule in rules:
        rule.check_schedules()
    rates = [rule.learning_rate for rule in rules]
    rules = [rule.relative_to(base_rate) for rule in rules]
    targets = Targets(model, leaves)
    matches = targets.match_all([rule.target for rule in rules])
    decisions, declarers = _decided(leaves, rules, matches)
    names = [
        name if rate is None else f"{name} at {rate:g} of {base_rate:g}"
        for name, rate in zip(_rule_names(rules), rates, strict=True)
    ]
    rows, statistics, used = [], [], set()
    for position, leaf in enumerate(leaves):
        settled = _agreed(leaf, decisions[position], names)
        if leaf.variable is None:
            frozen_by = _who_freezes(settled)
            used |= frozen_by
            frozen = leaf.frozen_by_user or bool(frozen_by)
            statistics.append(StatisticsLayer(leaf.path, leaf.layer, frozen, leaf.frozen_by_user, leaf.place))
            continue
        _check_trains(leaf, settled, names, declarers.get(position, ""))
        row = _row(leaf, settled, names, declarers.get(position, ""))
        rows.append(row)
        for by_path in decisions[position].values():  # all rules that agree about a shared variable count
            used |= _rules_with_effect(row, by_path)
    _check_all_used(rules, matches, used, leaves, rows, names)
    if all(rate is None for rate in rates):
        _warn_of_rates(rules, rows)
    return rows, statistics


def _decided(
    leaves: list[layer_tree.Leaf], rules: list[Rule], matches: list[list[Match]]
) -> tuple[list[dict[str, _Decisions]], dict[int, str]]:
    """The settings of each path of each leaf, declarations first, then rule by rule; and the declaring layers."""
    decisions: list[dict[str, _Decisions]] = [{path: {} for path in leaf.paths} for leaf in leaves]
    declarers: dict[int, str] = {}
    for position, (value, layer_name) in declared_multipliers([leaf.variable for leaf in leaves]).items():
        declarers[position] = f"{DECLARED} layer '{layer_name}'"
        for by_path in decisions[position].values():
            by_path["multiplier"] = (value, -1)
    for number, rule in enumerate(rules):
        for position, path in matches[number]:
            for known in leaves[position].paths if path is None else [path]:
                decisions[position][known].update({axis: (value, number) for axis, value in rule.axes.items()})
    return decisions, declarers


def _rule_names(rules: list[Rule]) -> list[str]:
    """The names of rules in tables; consecutive rules with equal settings for layers or variables share one."""
    names: list[str] = []
    for same, several in itertools.groupby(rules, key=lambda rule: (rule.axes, bool(named_objects(rule.target)))):
        targets = [rule.target for rule in several]
        first, last = len(names) + 1, len(names) + len(targets)
        if same[1] and len(targets) > 1:
            names += [f"rules {first} to {last}: {describe(targets)}"] * len(targets)
        else:
            names += [f"rule {first + place}: {describe(target)}" for place, target in enumerate(targets)]
    return names


def _who_freezes(settled: _Decisions) -> set[int]:
    """The rules that freeze a layer without trainable variables."""
    frozen, multiplier = settled.get("frozen", (False, 0)), settled.get("multiplier", (1.0, 0))
    return {frozen[1]} if frozen[0] else {multiplier[1]} if multiplier[0] == 0 else set()


def _check_all_used(
    rules: list[Rule],
    matches: list[list[Match]],
    used: set[int],
    leaves: list[layer_tree.Leaf],
    rows: list[Row],
    names: list[str],
) -> None:
    """Checks that each rule has an effect, except one for layers with nothing to train in a list of layers."""
    among_others = any(
        isinstance(target, keras.Layer) for number in used - {-1} for target in flattened(rules[number].target)
    )
    for number, rule in enumerate(rules):
        if number in used or (among_others and all(map(has_nothing_to_train, flattened(rule.target)))):
            continue
        matched = [leaves[position] for position, _ in matches[number]]
        if all(leaf.variable is None for leaf in matched):
            raise ValueError(
                f"The rule for {describe(rule.target)} has no effect: what it matches has moving statistics but nothing to "
                "train, so it can only be frozen. Remove it, or use difflr.FROZEN."
            )
        raise ValueError(_hidden(number, rule, names, matched, rows))


def _warn_of_rates(rules: list[Rule], rows: list[Row]) -> None:
    """Warns if all multipliers are so small that learning rates seem to be meant."""
    trained = [row.multiplier for row in rows if not row.frozen]
    if not trained or max(trained) > LARGEST_LOOKING_LIKE_A_RATE or not any(rule.multiplier for rule in rules):
        return
    low, high = min(trained), max(trained)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    warnings.warn(
        f"The multipliers of all trainable variables are {span}, which looks like learning rates. They are factors on the "
        f"optimizer's base rate: with Adam(1e-3), a multiplier of {low:g} trains at {low * 1e-3:g}. If learning rates are "
        f"meant, write {{'learning_rate': {low:g}}} as the value of the rule.",
        UserWarning,
        stacklevel=4,
    )


def _agreed(leaf: layer_tree.Leaf, by_path: dict[str, _Decisions], names: list[str]) -> _Decisions:
    """The settings on which all paths of a variable agree; a shared variable has several."""
    first_path, *others = by_path
    settled = by_path[first_path]
    for other in others:
        for axis in dict.fromkeys([*AXES, *settled, *by_path[other]]):
            decision_here, decision_there = settled.get(axis), by_path[other].get(axis)
            if (decision_here and decision_here[0]) != (decision_there and decision_there[0]):
                claims = [
                    f"'{path}' gets {decision[0] if decision else 'the default'}"
                    + (f" ({names[decision[1]]})" if decision and decision[1] >= 0 else "")
                    for path, decision in ((first_path, decision_here), (other, decision_there))
                ]
                raise ValueError(
                    f"The shared variable {leaf.path} is claimed twice with different values of `{axis}`: {claims[0]}, "
                    f"{claims[1]}. It can only have one: use a target that covers both paths, or the layer itself."
                )
    return settled


def _check_trains(leaf: layer_tree.Leaf, settled: _Decisions, names: list[str], declarer: str) -> None:
    """Checks that no rule unfreezes a variable whose layer declares the multiplier 0."""
    frozen = settled.get("frozen", (None, 0))
    if frozen[0] is False and settled.get("multiplier") == (0.0, -1):
        raise ValueError(
            f"The rule for {names[frozen[1]].partition(': ')[2]} unfreezes {leaf.path}, which would not train: it has the "
            f"multiplier 0, {declarer}. Give it one above 0 as well, such as {{'{leaf.path}': 1.0}}."
        )


def _row(leaf: layer_tree.Leaf, settled: _Decisions, names: list[str], declarer: str) -> Row:
    values = {axis: value for axis, (value, _) in settled.items()}
    decided = {
        axis: names[number] if number >= 0 else declarer
        for axis, (value, number) in settled.items()
        if value is not None
    }
    if leaf.frozen_by_user:
        values["frozen"], decided["frozen"] = True, BY_USER
    if isinstance(values.get("schedule"), Constant) and values["schedule"].learning_rate == 1:
        values["schedule"] = None  # the same group as variables without a schedule
    own = {axis: values.pop(axis) for axis in settled if axis not in AXES}
    reset = frozenset(name for name, value in own.items() if value is None)
    return Row(
        path=leaf.path,
        variable=leaf.variable,
        decided=decided,
        aliases=tuple(leaf.paths[1:]),
        layer=leaf.layer,
        place=leaf.place,
        hyperparameters={name: value for name, value in own.items() if value is not None},
        reset=reset,
        **values,
    )


def _rules_with_effect(row: Row, settled: _Decisions) -> set[int]:
    """The rules that have an effect on this row."""
    used = set()
    for axis, (value, number) in settled.items():
        if axis == "frozen":
            effective = value or not row.frozen
        elif axis == "multiplier" and value == 0:
            effective = True
        else:
            effective = not row.frozen
        if effective:
            used.add(number)
    return used


def _hidden(number: int, rule: Rule, names: list[str], leaves: list[layer_tree.Leaf], rows: list[Row]) -> str:
    """The error for a rule without effect."""
    by_path = {row.path: row for row in rows}
    matched = [by_path[leaf.path] for leaf in leaves if leaf.path in by_path]
    winners = dict.fromkeys(
        who for row in matched for axis, who in row.decided.items() if axis in rule.axes or axis == "frozen"
    )
    others = [who for who in winners if who != names[number]] or [names[number]]
    start = f"Rule {number + 1}: {describe(rule.target)} has no effect: "
    if all(row.frozen for row in matched):
        frozen_by = dict.fromkeys(row.decided["frozen"] for row in matched)
        if BY_USER in frozen_by:
            fix = "set `layer.trainable = True` first"
        elif rule.frozen is False:
            fix = "to train it again, give it a multiplier above 0"
        else:
            fix = "to train it again, use `difflr.Rule(..., frozen=False)` or `difflr.TRAINABLE` as well"
        return f"{start}everything it matches is frozen by {', '.join(frozen_by)}. Remove it, or {fix}."
    return f"{start}overridden by {', '.join(others)}. Later rules win: move it after them, or remove it."
