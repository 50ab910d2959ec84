"""Loading a saved state into an optimizer, whatever plan it has now."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers.groups import check_held
from difflr.optimizers.late_start import LateStart
from difflr.optimizers.saved_state import State
from difflr.plan import Plan, Row, saved_plan
from difflr.plan.rebinding import with_rows
from difflr.plan.rule import AXES
from difflr.plan.schedule_json import schedule_to_json


def load(optimizer: Any, state: State) -> None:
    """Loads `state` into a built differential optimizer, by variable.

    Args:
        optimizer: The optimizer.
        state: What was saved.

    Raises:
        ValueError: If a value has another shape than the optimizer has for it; nothing has changed then.
    """
    plan = optimizer.plan_in_force
    state = state.for_rows(plan.rows)
    saved = {row["place"]: row for row in state.plan["rows"]}
    known = {row.place for row in plan.rows if row.place in saved and saved[row.place]["shape"] == list(row.shape)}
    slots, expected = _slots(state), optimizer.slot_names()
    if (not known and (saved or plan.rows)) or slots != expected:
        warnings.warn(_not_loaded(optimizer, state, plan, slots, expected), stacklevel=4)
        return
    _check_values(optimizer, state, known)
    whole = plan.whole
    next_plan = _as_far_as_saved(state, whole)
    step = int(state.values[None, keras_private.ITERATION])
    starts = {place: start for place, start in state.starts.items() if place in known}
    trained = {place for place, _ in state.values if place is not None}
    seen = {place: number for place, number in state.seen.items() if place in known}
    for row in next_plan.rows:
        if row.frozen and row.place in trained & known:
            seen[row.place] = step - starts.pop(row.place, LateStart()).behind
        elif not row.frozen and step and row.place not in trained & known:
            starts[row.place] = LateStart(step, 0, step - seen.pop(row.place, 0))
    values = {key: value for key, value in {**state.aside, **state.values}.items() if key[0] in known | {None}}
    optimizer.take(next_plan, values, starts, {place: number for place, number in seen.items() if number}, state)
    _restore_multipliers(optimizer, state, saved, known)
    _warn_of_differences(optimizer, state, whole, known)


def _slots(state: State) -> set[str]:
    return {name for place, name in state.values if place is not None}


def _as_far_as_saved(state: State, whole: Plan) -> Plan:
    """The optimizer's own plan, with what the phase changed in which it was saved: freezing, rates, schedules."""
    saved, saved_whole = state.plan, state.plan["whole"] or state.plan
    planned = {row["place"]: row["frozen"] for row in saved_whole["rows"]}
    paused = {row["place"]: row for row in saved["rows"] if row["frozen"] and not planned[row["place"]]}
    trainable = {id(row.variable) for row in whole.rows if row.place not in paused}
    reason = next((row["decided"].get("frozen", "") for row in paused.values()), "")
    open_statistics = {entry["place"] for entry in saved_whole["statistics"] if not entry["frozen"]}
    closed = {entry["place"] for entry in saved["statistics"] if entry["frozen"]} & open_statistics
    layers = [layer.path for layer in whole.statistics if layer.place in closed]
    in_force = {row["place"]: row for row in saved["rows"]}
    in_whole = {row["place"]: row for row in saved_whole["rows"]}

    def as_in_phase(row: Row) -> Row:
        now, planned = in_force.get(row.place), in_whole.get(row.place)
        if now is None or planned is None or now["frozen"]:
            return row
        axes = [axis for axis in AXES if axis != "frozen" and now[axis] != planned[axis]]
        values = {axis: getattr(saved_plan.bound_row(now, row), axis) for axis in axes}
        row = dataclasses.replace(row, **values)
        if now["schedule"] is None or row.schedule is None or schedule_to_json(row.schedule) != now["schedule"]:
            return row
        return dataclasses.replace(row, schedule_start=now["schedule_start"])

    if state.plan["whole"] is None:
        return with_rows(whole, as_in_phase)
    return whole.only(
        trainable,
        reason,
        frozen_statistics=saved["frozen_statistics"],
        frozen_layers=layers,
        change=as_in_phase,
    )


def _check_values(optimizer: Any, state: State, known: set[str]) -> None:
    """Checks all that is taken next, also for who is frozen here or there: after an error nothing is half changed."""
    shapes = {key: tuple(variable.shape) for key, variable in optimizer.state_entries().items()}
    of_row = {row.place: row.shape for row in optimizer.plan_in_force.rows}
    others = {name for (place, name), shape in shapes.items() if place is not None and shape != of_row[place]}
    for (place, name), value in {**state.aside, **state.values}.items():
        if place in known and name not in others:
            expected = of_row[place]
        elif place in known or place is None:
            expected = shapes.get((place, name), value.shape)
        else:
            continue
        if value.shape != expected:
            raise ValueError(
                f"The saved state of optimizer '{optimizer.name}' does not fit: {name[:100]} of "
                f"{(place or 'the optimizer')[:100]} has the shape {expected}, and in the file {value.shape}."
            )
    step = state.values[None, keras_private.ITERATION]
    if not 0 <= step < np.inf:
        raise ValueError(f"The saved state of optimizer '{optimizer.name}' is damaged: its step is {step}.")
    check_held(list(state.multipliers.values()), [place[:100] for place in state.multipliers])


def _restore_multipliers(optimizer: Any, state: State, saved: dict[str, Any], known: set[str]) -> None:
    """Restores multipliers that were changed while training, where the plan is the one they were changed in."""
    optimizer.restore_multipliers(
        {
            id(row.variable): state.multipliers[row.place]
            for row in optimizer.plan_in_force.rows
            if row.place in known & state.multipliers.keys() and row.multiplier == saved[row.place]["multiplier"]
        }
    )


def _warn_of_differences(optimizer: Any, state: State, whole: Plan, known: set[str]) -> None:
    """One warning about all in which the file and the optimizer differ, and what holds."""
    saved = state.plan["whole"] or state.plan
    changed = [
        f"{row.path} {_setting(row)} instead of {_saved_setting(entry, state)}"
        for row in whole.rows
        for entry in saved["rows"]
        if entry["place"] == row.place and _differs(row, entry, state)
    ]
    texts = []
    if changed:
        optimizer.remember_saved_plan(state.plan)
        texts.append(
            f"The plan differs from the saved one: {listed(changed)}. The plan of the optimizer holds, and the state was "
            "loaded by variable. To use the saved plan: difflr.replan(model, model.optimizer.loaded_plan)."
        )
    restored = [
        f"{row.path} {state.multipliers[row.place]:g} instead of {row.multiplier:g}"
        for row in optimizer.plan_in_force.rows
        if optimizer.multipliers_changed.get(id(row.variable), row.multiplier) != row.multiplier
    ]
    if restored:
        texts.append(
            f"Multipliers that were changed while training are restored: {listed(restored)}. They are part of the state, "
            "as the learning rate is; for others set `optimizer.multipliers[layer]` after loading."
        )
    new = [row.path for row in whole.rows if row.place not in known]
    with_state = {place for place, _ in [*state.values, *state.aside]}
    gone = [row["path"] for row in state.plan["rows"] if row["place"] in with_state - known]
    if new:
        texts.append(f"The file has no state for {listed(new)}, which start fresh.")
    if gone:
        texts.append(f"The file has state for {listed(gone)}, which the model does not have.")
    texts += _about_the_rate(optimizer, state)
    if texts:
        warnings.warn(" ".join(texts), stacklevel=5)


def _about_the_rate(optimizer: Any, state: State) -> list[str]:
    here, in_file = optimizer.first_rate, state.learning_rate
    loaded = state.values.get((None, keras_private.LEARNING_RATE))
    if not isinstance(here, float) or in_file is None or loaded is None:
        return []
    now = float(str(loaded.astype("float32")))
    if np.isclose(here, in_file, rtol=1e-5) or np.isclose(here, now, rtol=1e-5):
        return []
    return [
        f"The learning rate of the saved state holds: {now:g}, not {here:g}, as in Keras. For the other one set "
        f"`optimizer.learning_rate = {here:g}` after loading."
    ]


def _differs(row: Row, saved: dict[str, Any], state: State) -> bool:
    if row.frozen or saved["frozen"]:
        return row.frozen != saved["frozen"]
    now = state.multipliers.get(row.place, saved["multiplier"])
    same_decay = row.weight_decay_multiplier == saved["weight_decay_multiplier"]
    return row.multiplier not in (saved["multiplier"], now) or not same_decay or _schedule(row) != saved["schedule"]


def _schedule(row: Row) -> dict[str, Any] | None:
    return None if row.schedule is None else saved_plan.schedule_to_json(row.schedule)


def _setting(row: Row) -> str:
    decay = "" if row.weight_decay_multiplier == 1 else f", weight decay {row.weight_decay_multiplier:g}"
    schedule = "" if row.schedule is None else f", {type(row.schedule).__name__}"
    return "frozen" if row.frozen else f"{row.multiplier:g}{decay}{schedule}"


def _saved_setting(saved: dict[str, Any], state: State) -> str:
    if saved["frozen"]:
        return "frozen"
    decay = "" if saved["weight_decay_multiplier"] == 1 else f", weight decay {saved['weight_decay_multiplier']:g}"
    schedule = "" if saved["schedule"] is None else f", {saved['schedule'].get('class_name')}"
    return f"{state.multipliers.get(saved['place'], saved['multiplier']):g}{decay}{schedule}"


def _not_loaded(optimizer: Any, state: State, plan: Plan, slots: set[str], expected: set[str]) -> str:
    start = f"The saved state of optimizer '{optimizer.name}' was not loaded, and it starts fresh: "
    if slots != expected:
        there, here = listed(sorted(slots)) or "nothing", listed(sorted(expected)) or "nothing"
        return f"{start}the file has, for each variable, {there}, and this {type(optimizer).__name__} has {here}."
    return start + saved_plan.report(
        "state", 0, [row["path"] for row in state.plan["rows"]], [row.path for row in plan.rows], []
    )
