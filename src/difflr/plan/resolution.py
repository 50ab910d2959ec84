"""The rules, one after another, on every variable of a model; and what is wrong with them."""

from collections.abc import Iterable
from typing import Any

import keras

from difflr import keras_private
from difflr.plan import layer_tree
from difflr.plan.declared import declared_multipliers
from difflr.plan.rows import BY_USER, DECLARED, Row, StatisticsLayer
from difflr.plan.rule import AXES, Rule, describe
from difflr.plan.targets import Targets


def leaves_of(model: Any) -> list[layer_tree.Leaf]:
    """The leaves of a model or of a list of variables, checked."""
    if isinstance(model, keras.Layer):
        leaves = layer_tree.walk(model)
        empty = not any(leaf.variable is not None for leaf in leaves)
        unbuilt = [layer for layer in _all_layers(model) if not layer.built]
        name = f"{type(model).__name__} '{model.name}'"
        if (empty and not model.built) or (unbuilt and (empty or not model.built)):
            which = f" (nor is its layer '{unbuilt[0].name}')" if unbuilt and not empty else ""
            raise ValueError(
                f"{name} is not built{which}, so {'it has no' if empty else 'not all its'} variables "
                f"{'yet' if empty else 'are there yet'}. Build it first: `model.build(input_shape)`, or call it once "
                "on a batch."
            )
        if empty:
            raise ValueError(f"{name} has no variables that can be trained, so there is nothing to plan.")
        return leaves
    if isinstance(model, Iterable) and not isinstance(model, (str, keras.Variable)):
        variables = list(model)
        if variables and all(hasattr(variable, "shape") and hasattr(variable, "name") for variable in variables):
            return layer_tree.flat(variables)
    raise TypeError(
        "A plan is made for a built Keras model or layer, or for a list of variables. "
        f"Received: {model!r} (of type {type(model).__name__})."
    )


def _all_layers(model: keras.Layer) -> list[keras.Layer]:
    """The layers inside `model` at all depths, each once."""
    found: dict[int, keras.Layer] = {}
    pending = keras_private.sublayers(model)
    while pending:
        layer = pending.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            pending += keras_private.sublayers(layer)
    return list(found.values())


# For one path of one variable: axis -> (value, position of the rule; -1: the layer's declaration).
_Decisions = dict[str, tuple[Any, int]]


def resolve(
    leaves: list[layer_tree.Leaf], model: keras.Layer | None, rules: list[Rule]
) -> tuple[list[Row], list[StatisticsLayer]]:
    """The rows of the plan, and the layers that only own statistics."""
    targets = Targets(leaves, model)
    names = [f"rule {number}: {describe(rule.target)}" for number, rule in enumerate(rules, start=1)]
    decisions: list[dict[str, _Decisions]] = [{path: {} for path in leaf.paths} for leaf in leaves]
    declarers: dict[int, str] = {}
    for position, (value, layer_name) in declared_multipliers([leaf.variable for leaf in leaves]).items():
        declarers[position] = f"{DECLARED} layer '{layer_name}'"
        for by_path in decisions[position].values():
            by_path["multiplier"] = (value, -1)
    matches = [targets.match(rule.target) for rule in rules]
    for number, rule in enumerate(rules):
        for position, path in matches[number]:
            for each in leaves[position].paths if path is None else [path]:
                decisions[position][each].update({axis: (value, number) for axis, value in rule.axes.items()})
    rows, statistics, used = [], [], set()
    for position, leaf in enumerate(leaves):
        settled = _agreed(leaf, decisions[position], names)
        if leaf.variable is None:
            by_plan = settled.get("frozen", (False, 0))[0] or settled.get("multiplier", (1.0, 0))[0] == 0
            frozen = leaf.frozen_by_user or by_plan
            statistics.append(StatisticsLayer(leaf.path, leaf.layer, frozen, leaf.frozen_by_user, leaf.place))
            continue
        row = _row(leaf, settled, names, declarers.get(position, ""))
        rows.append(row)
        for by_path in decisions[position].values():  # rules that agree about the paths of a shared variable all count
            used |= _rules_with_effect(row, by_path)
    for number, rule in enumerate(rules):
        if number not in used:
            raise ValueError(_hidden(number, rule, names, [leaves[p] for p, _ in matches[number]], rows))
    return rows, statistics


def _agreed(leaf: layer_tree.Leaf, by_path: dict[str, _Decisions], names: list[str]) -> _Decisions:
    """What all paths of a variable agree on; a shared variable has several."""
    first_path, *others = by_path
    settled = by_path[first_path]
    for other in others:
        for axis in AXES:
            mine, theirs = settled.get(axis), by_path[other].get(axis)
            if (mine and mine[0]) != (theirs and theirs[0]):
                said = [
                    f"'{path}' gets {decision[0] if decision else 'the default'}"
                    + (f" ({names[decision[1]]})" if decision and decision[1] >= 0 else "")
                    for path, decision in ((first_path, mine), (other, theirs))
                ]
                raise ValueError(
                    f"The shared variable {leaf.path} is claimed twice with different values of `{axis}`: {said[0]}, "
                    f"{said[1]}. It can only have one: use a target that covers both paths, or the layer itself."
                )
    return settled


def _row(leaf: layer_tree.Leaf, settled: _Decisions, names: list[str], declarer: str) -> Row:
    values = {axis: value for axis, (value, _) in settled.items()}
    decided = {axis: names[number] if number >= 0 else declarer for axis, (_, number) in settled.items()}
    if leaf.frozen_by_user:
        values["frozen"], decided["frozen"] = True, BY_USER
    if values.get("multiplier") == 0 and not values.get("frozen"):
        values["frozen"], decided["frozen"] = True, decided["multiplier"]
    if values.get("frozen"):
        values["multiplier"] = 0.0
    return Row(
        path=leaf.path,
        variable=leaf.variable,
        decided=decided,
        aliases=tuple(leaf.paths[1:]),
        layer=leaf.layer,
        place=leaf.place,
        **values,
    )


def _rules_with_effect(row: Row, settled: _Decisions) -> set[int]:
    """The rules that decide something that matters for this row."""
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
    """The error for a rule that decides nothing."""
    by_path = {row.path: row for row in rows}
    matched = [by_path[leaf.path] for leaf in leaves if leaf.path in by_path]
    winners = dict.fromkeys(
        who for row in matched for axis, who in row.decided.items() if axis in rule.axes or axis == "frozen"
    )
    others = [who for who in winners if who != names[number]]
    start = f"{names[number].capitalize()} has no effect: "
    if all(row.frozen for row in matched):
        frozen_by = dict.fromkeys(row.decided["frozen"] for row in matched)
        if BY_USER in frozen_by:
            fix = "set `layer.trainable = True` first"
        elif rule.frozen is False:
            fix = "to train it again, give it a multiplier above 0"
        else:
            fix = "to train it again, give it `difflr.Rule(..., frozen=False)` or `difflr.TRAINABLE` as well"
        return f"{start}everything it matches is frozen by {', '.join(frozen_by)}. Leave it out, or {fix}."
    return (
        f"{start}all it sets is decided by {', '.join(others)}. Later rules win: move it behind them, or leave it out."
    )
