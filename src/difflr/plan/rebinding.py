"""Rebind a plan: to its model, with changes made by the optimizer or the user since."""

import dataclasses
from collections.abc import Iterable, Mapping

import keras

from difflr.plan import layer_tree
from difflr.plan.plan import Plan, some
from difflr.plan.rows import Row


def tied_to(plan: Plan, model: keras.Layer) -> Plan:
    """The plan with the paths, places and layers of `model`, whose variables it covers.

    Raises:
        ValueError: If the model has other variables.
    """
    fresh = Plan(model)
    missing = [row.path for row in plan.rows if row.variable not in fresh]
    unknown = [row.path for row in fresh.rows if row.variable not in plan and not row.frozen]
    if missing or unknown:
        raise ValueError(
            f"The plan belongs to another model than {type(model).__name__} '{model.name}'. "
            f"Only in the plan: {some(set(missing))}. Only in the model: {some(set(unknown))}. Make a plan of this model, "
            "difflr.Plan(model, rules). `optimizer.replan(plan)` continues with a changed model."
        )
    rows = [_tied(plan.row(row.variable), row) if row.variable in plan else row for row in fresh.rows]
    by_place = {layer.place: layer for layer in plan.statistics}
    by_layer = {id(layer.layer): layer for layer in plan.statistics if layer.layer is not None}
    statistics = []
    for layer in fresh.statistics:
        known = by_layer.get(id(layer.layer)) or by_place.get(layer.place) or layer
        statistics.append(dataclasses.replace(layer, frozen=known.frozen, by_user=known.by_user))
    whole = None if plan.whole is plan else tied_to(plan.whole, model)
    return Plan.from_rows(rows, statistics, plan.frozen_statistics, whole, model, plan.learning_rate)


def _tied(row: Row, known: Row) -> Row:
    return dataclasses.replace(row, path=known.path, place=known.place, aliases=known.aliases, layer=known.layer)


def with_layers(plan: Plan, layers: Iterable[keras.Layer]) -> Plan:
    """A plan created without a model, with the BatchNormalization layers in `layers` added."""
    owners = {
        id(leaf.variable): leaf.layer
        for layer in layers
        for leaf in layer_tree.walk(layer)
        if leaf.variable is not None and isinstance(leaf.layer, keras.layers.BatchNormalization)
    }
    return plan.changed(lambda row: dataclasses.replace(row, layer=owners.get(id(row.variable), row.layer)))


def without_decay(plan: Plan, variables: Iterable[keras.Variable]) -> Plan:
    """The plan with the exclusions of `optimizer.exclude_from_weight_decay`."""
    excluded = set(map(id, variables))

    def change(row: Row) -> Row:
        if id(row.variable) not in excluded:
            return row
        decided = {**row.decided, "weight_decay_multiplier": "exclude_from_weight_decay"}
        return dataclasses.replace(row, weight_decay_multiplier=0.0, decided=decided)

    return plan.changed(change)


def without_replaced(plan: Plan) -> Plan:
    """The plan without variables that their layer has no more, such as the kernels of a layer that was quantized.

    Args:
        plan: The plan.
    """
    gone = {
        id(row.variable)
        for row in plan.rows
        if row.layer is not None and all(row.variable is not variable for variable in row.layer.variables)
    }
    if not gone:
        return plan
    rows, planned = ([row for row in each.rows if id(row.variable) not in gone] for each in (plan, plan.whole))
    whole = None if plan.whole is plan else Plan.from_rows(planned, plan.whole.statistics, plan.whole.frozen_statistics)
    return Plan.from_rows(rows, plan.statistics, plan.frozen_statistics, whole)


def with_numbers(plan: Plan, numbers: Mapping[int, Mapping[str, float]]) -> Plan:
    """The plan with other multipliers and hyperparameters.

    Args:
        plan: The plan.
        numbers: Identity of the variable -> name -> number, as for `Row.with_numbers`.
    """
    return plan.changed(lambda row: row.with_numbers(numbers.get(id(row.variable), {})))


def with_schedule_starts(plan: Plan, before: Plan, step: int) -> Plan:
    """The plan with schedules that count from the step they took effect.

    The schedule of a variable counts from the step at which the variable started to train with it: after unfreezing, or
    when the schedule changed. A row with an explicit start step does not change.

    Args:
        plan: The next plan.
        before: The current plan.
        step: The optimizer's step.
    """

    def change(row: Row) -> Row:
        if not row.has_schedule or row.schedule_start or row.variable not in before:
            return row
        known = before.row(row.variable)
        own = 2 if row.schedule is not None else 5  # the learning-rate schedule, or hyperparameter schedules
        same = not known.frozen and dataclasses.replace(known, schedule_start=0).setting[own] == row.setting[own]
        return dataclasses.replace(row, schedule_start=known.schedule_start if same else step)

    return plan.changed(change, in_whole=False)


def with_own_schedules_from(plan: Plan, step: int) -> Plan:
    """The plan of a phase, with the phase's own schedules (those not in `whole`) counted from a step.

    Args:
        plan: The plan of a phase.
        step: The optimizer's step.
    """

    def change(row: Row) -> Row:
        own, _ = schedules_of_phase(row, plan.whole)
        return dataclasses.replace(row, schedule_start=step) if own else row

    return plan.changed(change, in_whole=False)


def schedules_of_phase(row: Row, whole: Plan) -> tuple[list[str], list[str]]:
    """The names of what has a schedule in a row: by the phase itself, and by the plan.

    Args:
        row: A row of the plan of a phase.
        whole: The plan without phases.
    """
    planned = whole.row(row.variable)
    values = {"learning rate": row.schedule, **row.hyperparameters}
    before = {"learning rate": planned.schedule, **planned.hyperparameters}
    names = [name for name, value in values.items() if callable(value)]
    own = [name for name in names if values[name] is not before.get(name)]
    return own, [name for name in names if name not in own]
