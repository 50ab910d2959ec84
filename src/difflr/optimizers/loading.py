"""Loading a saved state into an optimizer, also with another plan."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers.groups import check_held
from difflr.optimizers.saved_state import State
from difflr.optimizers.state_by_place import NO_START, LateStart
from difflr.plan import Plan, Row, hyperparameters, saved_plan
from difflr.plan.rows import MULTIPLIER
from difflr.plan.rule import AXES


def load(optimizer: Any, plan: Plan, state: State) -> None:
    """Loads `state` into a built differential optimizer, by variable.

    Args:
        optimizer: The optimizer.
        plan: Its plan in force, with the planned multipliers.
        state: The saved state.

    Raises:
        ValueError: If a value has the wrong shape; nothing is changed then.
    """
    state = state.for_rows(plan.rows)
    saved = {row["place"]: row for row in state.plan["rows"]}
    known = {row.place for row in plan.rows if row.place in saved and saved[row.place]["shape"] == list(row.shape)}
    slots = {name for place, name in state.values if place is not None}
    expected = {name for place, name in optimizer.state_entries() if place is not None}
    if (not known and (saved or plan.rows)) or slots != expected:
        warnings.warn(_not_loaded(optimizer, state, plan, slots, expected), stacklevel=4)
        return
    _check_values(optimizer, plan, state, known)
    whole, is_same = plan.whole, state.plan == optimizer.plan_config(plan)
    next_plan = plan if is_same else _as_far_as_saved(state, whole)
    step = int(state.values[None, keras_private.ITERATION])
    starts = {place: start for place, start in state.starts.items() if place in known}
    trained = {place for place, _ in state.values if place is not None}
    seen = {place: number for place, number in state.seen.items() if place in known}
    for row in next_plan.rows:
        if row.frozen and row.place in trained & known:
            seen[row.place] = step - starts.pop(row.place, NO_START).behind
        elif not row.frozen and step and row.place not in trained & known:
            behind = step - seen.pop(row.place, 0)
            if optimizer.corrects_bias and behind:
                starts[row.place] = LateStart(behind=behind)
    values = {key: value for key, value in {**state.aside, **state.values}.items() if key[0] in known | {None}}
    optimizer.take(next_plan, values, starts, {place: number for place, number in seen.items() if number}, state)
    texts = [] if is_same else _about_the_plan(optimizer, state, whole)
    if state.numbers:
        rows = [row for row in next_plan.rows if row.place in known and not row.frozen]
        texts += _restore_changed(optimizer, rows, state, saved)
    texts += [*_about_variables(state, whole, known), *_about_the_rate(optimizer, state)]
    if texts:
        warnings.warn(" ".join(texts), stacklevel=4)


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
        alike = row.has_schedule and _without_start(row)[2:] == _without_start(bound)[2:]
        return dataclasses.replace(row, schedule_start=bound.schedule_start) if alike else row

    if state.plan["whole"] is None:
        return whole.changed(as_in_phase)
    return whole.only(
        trainable,
        reason,
        frozen_statistics=saved["frozen_statistics"],
        frozen_layers=layers,
        change=as_in_phase,
    )


def _check_values(optimizer: Any, plan: Plan, state: State, known: set[str]) -> None:
    """Checks all values before any is used, those of frozen variables too."""
    shapes = {key: tuple(variable.shape) for key, variable in optimizer.state_entries().items()}
    of_row = {row.place: row.shape for row in plan.rows}
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
    multipliers = {place[:100]: own[MULTIPLIER] for place, own in state.numbers.items() if MULTIPLIER in own}
    check_held(list(multipliers.values()), list(multipliers))


def _restore_changed(optimizer: Any, rows: Sequence[Row], state: State, saved: dict[str, Any]) -> list[str]:
    """Restores numbers that were changed during training, if the planned number is still the same.

    Returns:
        What was restored and what was not, in sentences.
    """
    numbers = {}
    for row in rows:
        planned = saved_plan.bound_row(saved[row.place], row)
        known = state.numbers.get(row.place, {}).items()
        numbers[id(row.variable)] = {name: now for name, now in known if row.number(name) == planned.number(name)}
    not_restored = optimizer._groups.settable.restore(numbers)
    multipliers = {key: known[MULTIPLIER] for key, known in numbers.items() if MULTIPLIER in known}
    restored = [
        f"{row.path} {multipliers[id(row.variable)]:g} instead of {row.multiplier:g}"
        for row in rows
        if id(row.variable) not in not_restored and multipliers.get(id(row.variable), row.multiplier) != row.multiplier
    ]
    texts = []
    if restored:
        texts.append(
            f"Multipliers that were changed while training are restored: {listed(restored)}. They are part of the state, "
            "like the learning rate; to change them, set `optimizer.multipliers[layer]` after loading."
        )
    if not_restored:
        lost = [row.path for row in rows if id(row.variable) in not_restored]
        texts.append(
            f"Multipliers changed during training were not restored for {listed(lost)}: they share a number with "
            "other variables now, which they did not when the state was saved. The plan's number applies; set it again, as "
            "with `optimizer.multipliers[layer] = ...`."
        )
    return texts


def _about_the_plan(optimizer: Any, state: State, whole: Plan) -> list[str]:
    """Where the optimizer's plan differs from the saved one, in a sentence."""
    saved = {row["place"]: row for row in (state.plan["whole"] or state.plan)["rows"]}
    changed = []
    for row in whole.rows:
        if row.place in saved:
            planned = saved_plan.bound_row(saved[row.place], dataclasses.replace(row, decided={}))
            now = planned.with_numbers(state.numbers.get(row.place, {}))
            if _without_start(row) not in (_without_start(planned), _without_start(now)):
                changed.append(f"{row.path} {_text(row)} instead of {_text(now)}")
    if not changed:
        return []
    optimizer.loaded_config = state.plan
    return [
        f"The plan differs from the saved one: {listed(changed)}. The optimizer's plan applies; the state was "
        "loaded by variable. To use the saved plan: difflr.replan(model, model.optimizer.loaded_plan)."
    ]


def _about_variables(state: State, whole: Plan, known: set[str]) -> list[str]:
    """Variables without saved state, and saved state without a variable, in sentences."""
    with_state = {place for place, _ in [*state.values, *state.aside]}
    new = [row.path for row in whole.rows if row.place not in known]
    gone = [row["path"] for row in state.plan["rows"] if row["place"] in with_state - known]
    texts = [f"The file has no state for {listed(new)}, which start fresh."] if new else []
    return texts + ([f"The file has state for {listed(gone)}, which this optimizer does not train."] if gone else [])


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


def _without_start(row: Row) -> tuple[Any, ...]:
    """The setting of a row but for its group's name and the step from which its schedules count."""
    return dataclasses.replace(row, name="", schedule_start=0).setting


def _text(row: Row) -> str:
    """The setting of a row for a warning."""
    if row.frozen:
        return "frozen"
    parts = [f"{row.multiplier:g}"]
    parts += [f"weight decay {row.weight_decay_multiplier:g}"] if row.weight_decay_multiplier != 1 else []
    parts += [type(row.schedule).__name__] if row.schedule is not None else []
    parts += [hyperparameters.as_text(row.hyperparameters)] if row.hyperparameters else []
    parts += [f"lowest rate {row.min_learning_rate:g}"] if row.min_learning_rate else []
    return ", ".join(parts)


def _not_loaded(optimizer: Any, state: State, plan: Plan, slots: set[str], expected: set[str]) -> str:
    start = f"The saved state of optimizer '{optimizer.name}' was not loaded, and it starts fresh: "
    if slots != expected:
        there, here = listed(sorted(slots)) or "nothing", listed(sorted(expected)) or "nothing"
        return f"{start}the file has, for each variable, {there}, and this {type(optimizer).__name__} has {here}."
    return start + saved_plan.report(
        "state", 0, [row["path"] for row in state.plan["rows"]], [row.path for row in plan.rows], []
    )
