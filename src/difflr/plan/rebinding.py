"""The same plan for other surroundings: tied to its model, with what an optimizer or the user has changed since."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping

import keras

from difflr.plan import layer_tree
from difflr.plan.plan import Plan, some
from difflr.plan.rows import BY_USER, Row


def tied_to(plan: Plan, model: keras.Layer) -> Plan:
    """The plan, with the paths, places and layers of `model`, whose variables it covers.

    Raises:
        ValueError: If the model has other variables.
    """
    fresh = Plan(model)
    missing = [row.path for row in plan.rows if row.variable not in fresh]
    unknown = [row.path for row in fresh.rows if row.variable not in plan and not row.frozen]
    if missing or unknown:
        raise ValueError(
            f"The plan belongs to another model than {type(model).__name__} '{model.name}'. "
            f"Only in the plan: {some(set(missing))}. Only in the model: {some(set(unknown))}."
        )
    rows = [_tied(plan.row(row.variable), row) if row.variable in plan else row for row in fresh.rows]
    by_place = {layer.place: layer for layer in plan.statistics}
    by_layer = {id(layer.layer): layer for layer in plan.statistics if layer.layer is not None}
    statistics = []
    for layer in fresh.statistics:
        known = by_layer.get(id(layer.layer)) or by_place.get(layer.place) or layer
        statistics.append(dataclasses.replace(layer, frozen=known.frozen, by_user=known.by_user))
    whole = None if plan.whole is plan else tied_to(plan.whole, model)
    return Plan.from_rows(rows, statistics, plan.frozen_statistics, whole, model)


def _tied(row: Row, known: Row) -> Row:
    return dataclasses.replace(row, path=known.path, place=known.place, aliases=known.aliases, layer=known.layer)


def with_layers(plan: Plan, layers: Iterable[keras.Layer]) -> Plan:
    """The plan, made without a model, that knows of its BatchNormalization layers those in `layers`."""
    owners = {
        id(leaf.variable): leaf.layer
        for layer in layers
        for leaf in layer_tree.walk(layer)
        if leaf.variable is not None and isinstance(leaf.layer, keras.layers.BatchNormalization)
    }
    return plan.changed(lambda row: dataclasses.replace(row, layer=owners.get(id(row.variable), row.layer)))


def without_decay(plan: Plan, variables: Iterable[keras.Variable]) -> Plan:
    """The plan with what `optimizer.exclude_from_weight_decay` excluded."""
    excluded = set(map(id, variables))

    def change(row: Row) -> Row:
        if id(row.variable) not in excluded:
            return row
        decided = {**row.decided, "weight_decay_multiplier": "exclude_from_weight_decay"}
        return dataclasses.replace(row, weight_decay_multiplier=0.0, decided=decided)

    return plan.changed(change) if excluded else plan


def with_multipliers(plan: Plan, multipliers: Mapping[int, float]) -> Plan:
    """The plan with other multipliers.

    Args:
        plan: The plan.
        multipliers: Identity of the variable -> multiplier.
    """
    return plan.changed(
        lambda row: dataclasses.replace(row, multiplier=multipliers.get(id(row.variable), row.multiplier))
    )


def with_hyperparameters(plan: Plan, values: Mapping[int, Mapping[str, float]]) -> Plan:
    """The plan with other hyperparameters.

    Args:
        plan: The plan.
        values: Identity of the variable -> name -> number.
    """
    return plan.changed(
        lambda row: dataclasses.replace(
            row, hyperparameters={**row.hyperparameters, **values.get(id(row.variable), {})}
        )
    )


def with_frozen_by_hand(plan: Plan, trained: Collection[int] = ()) -> Plan:
    """The plan with what the user has frozen since it was made.

    Args:
        plan: The plan.
        trained: The identities of variables that count as trainable in any case.
    """

    def change(row: Row) -> Row:
        by_hand = (
            not row.frozen and id(row.variable) not in trained and layer_tree.frozen_by_hand(row.variable, row.layer)
        )
        return row.frozen_because(BY_USER) if by_hand else row

    return plan.changed(change)
