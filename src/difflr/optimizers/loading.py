"""Loading a saved state into an optimizer, also with another plan."""

import dataclasses
import warnings
from typing import Any

import numpy as np

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers.groups import check_held
from difflr.optimizers.late_start import LateStart
from difflr.optimizers.saved_state import State
from difflr.plan import Plan, Row, hyperparameters, saved_plan
from difflr.plan.rebinding import with_rows
from difflr.plan.rule import AXES


def load(optimizer: Any, state: State) -> None:
    """Loads `state` into a built differential optimizer, by variable.

    Args:
        optimizer: The optimizer.
        state: What was saved.

    Raises:
        ValueError: If a value has the wrong shape; nothing is changed then.
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
    lost = _restore_changed(optimizer, state, saved, known)
    _warn_of_differences(optimizer, state, whole, known, lost)


def _slots(state: State) -> set[str]:
    return {name for place, name in state.values if place is not None}


def _as_far_as_saved(state: State, whole: Plan) -> Plan:
    """The optimizer's own plan, with the freezing, rates and schedules of the phase in which the state was saved."""
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
        bound, axes = saved_plan.bound_row(now, row), [*AXES, "hyperparameters"]
        by_phase = [axis for axis in axes if axis != "frozen" and now.get(axis) != planned.get(axis)]
        row = dataclasses.replace(row, **{axis: getattr(bound, axis) for axis in by_phase})
        alike = _schedule(row) == _schedule(bound) and _others(row) == _others(bound)
        return dataclasses.replace(row, schedule_start=bound.schedule_start) if row.has_schedule and alike else row

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
    """Checks all values before any is used, those of frozen variables too."""
    shapes = {key: tuple(variable.shape) for key, variable in optimizer.state_entries().items()}
    of_row = {row.place: row.shape for row in optimizer.plan_in_force.rows}
    others = {name for (place, name), shape in shapes.items() if place is not None and shape != of_row[place]}
    for (place, name), value in {**state.aside, **state.values}.items():
        if place in known and name not in others:
            expected = of_row[place]
        elif place in known and (factored := keras_private.factored_shape(optimizer, name, of_row[place])) is not None:
            expected = factored
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


def _restore_changed(optimizer: Any, state: State, saved: dict[str, Any], known: set[str]) -> list[str]:
    """Restores numbers that were changed while training, where the planned number is still the same.

    Returns:
        The paths of variables that now share a number with others and did not when it was saved.
    """
    rows = [row for row in optimizer.plan_in_force.rows if row.place in known and not row.frozen]
    multipliers = {
        id(row.variable): state.multipliers[row.place]
        for row in rows
        if row.place in state.multipliers and row.multiplier == saved[row.place]["multiplier"]
    }
    numbers = {
        id(row.variable): {
            name: number
            for name, number in state.hyperparameters.get(row.place, {}).items()
            if row.hyperparameters.get(name) == saved[row.place].get("hyperparameters", {}).get(name)
        }
        for row in rows
    }
    lost = [*optimizer.restore_multipliers(multipliers), *optimizer.restore_hyperparameters(numbers)]
    return [row.path for row in rows if id(row.variable) in lost]


def _warn_of_differences(optimizer: Any, state: State, whole: Plan, known: set[str], lost: list[str]) -> None:
    """Warns, once, of all differences between the file and the optimizer, and which side applies."""
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
            f"The plan differs from the saved one: {listed(changed)}. The optimizer's plan applies; the state was "
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
            "like the learning rate; to change them, set `optimizer.multipliers[layer]` after loading."
        )
    if lost:
        texts.append(
            f"What was changed while training was not restored for {listed(lost)}: they share a number with others now, "
            "which they did not when it was saved. The plan's number applies; set it again, as with "
            "`optimizer.multipliers[layer] = ...`."
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
        f"As in Keras, the learning rate of the saved state applies: {now:g}, not {here:g}. To change it, set "
        f"`optimizer.learning_rate = {here:g}` after loading."
    ]


def _differs(row: Row, saved: dict[str, Any], state: State) -> bool:
    if row.frozen or saved["frozen"]:
        return row.frozen != saved["frozen"]
    now = state.multipliers.get(row.place, saved["multiplier"])
    same_decay = row.weight_decay_multiplier == saved["weight_decay_multiplier"]
    if row.multiplier not in (saved["multiplier"], now) or not same_decay or _schedule(row) != saved["schedule"]:
        return True
    planned, lowest = _saved_others(saved)
    changed = {**planned, **state.hyperparameters.get(row.place, {})}
    return _others(row) not in ((planned, lowest), (changed, lowest))


def _others(row: Row) -> tuple[dict[str, Any], float]:
    return hyperparameters.to_json(row.hyperparameters), row.min_learning_rate


def _saved_others(saved: dict[str, Any]) -> tuple[dict[str, Any], float]:
    return saved.get("hyperparameters", {}), saved.get("min_learning_rate", 0.0)


def _schedule(row: Row) -> dict[str, Any] | None:
    return None if row.schedule is None else saved_plan.schedule_to_json(row.schedule)


def _setting(row: Row) -> str:
    if row.frozen:
        return "frozen"
    return _text(row.multiplier, row.weight_decay_multiplier, _schedule(row), *_others(row))


def _saved_setting(saved: dict[str, Any], state: State) -> str:
    if saved["frozen"]:
        return "frozen"
    multiplier = state.multipliers.get(saved["place"], saved["multiplier"])
    numbers, lowest = _saved_others(saved)
    numbers = {**numbers, **state.hyperparameters.get(saved["place"], {})}
    return _text(multiplier, saved["weight_decay_multiplier"], saved["schedule"], numbers, lowest)


def _text(
    multiplier: float, decay: float, schedule: dict[str, Any] | None, numbers: dict[str, Any], lowest: float
) -> str:
    parts = [f"{multiplier:g}"]
    parts += [f"weight decay {decay:g}"] if decay != 1 else []
    parts += [str(schedule.get("class_name"))] if schedule else []
    parts += [
        f"{name} {value.get('class_name') if isinstance(value, dict) else value}" for name, value in numbers.items()
    ]
    parts += [f"lowest rate {lowest:g}"] if lowest else []
    return ", ".join(parts)


def _not_loaded(optimizer: Any, state: State, plan: Plan, slots: set[str], expected: set[str]) -> str:
    start = f"The saved state of optimizer '{optimizer.name}' was not loaded, and it starts fresh: "
    if slots != expected:
        there, here = listed(sorted(slots)) or "nothing", listed(sorted(expected)) or "nothing"
        return f"{start}the file has, for each variable, {there}, and this {type(optimizer).__name__} has {here}."
    return start + saved_plan.report(
        "state", 0, [row["path"] for row in state.plan["rows"]], [row.path for row in plan.rows], []
    )
