"""Phases as a table, to check before training."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from difflr.optimizers.plan_of import plan_of
from difflr.phases.phase import Phase
from difflr.phases.resolve import first_rate_of, resolve, trained_in
from difflr.phases.rules_of_phase import RulesOfPlan
from difflr.plan.rule import Rule, describe
from difflr.text_table import TextTable, counted, text_table

if TYPE_CHECKING:
    from difflr.phases.phases import Phases

MAX_CHARACTERS = 60
DEFAULTS = {field.name: field.default for field in dataclasses.fields(Phase)}
RATES = {"learning_rate": "learning rate", "multipliers": "multipliers", "schedule": "schedule"}


def as_text(phases: "Phases", model: Any = None) -> TextTable:
    """The phases as a text table.

    Args:
        phases: The phases.
        model: A built model, to add the numbers of parameters.
    """
    header = ["phase", "trainable", "until"]
    lines = [[str(number), _shortened(phase.who), phase.ends] for number, phase in enumerate(phases, start=1)]
    right = {0}
    if model is not None:
        header += ["parameters trainable", "joining", "freezing"]
        right |= {3, 4, 5}
        for line, numbers in zip(lines, _numbers(phases, model), strict=True):
            line += [f"{number:,}" for number in numbers]
    planned = "as planned" if model is None else plan_of(model).whole.frozen_statistics
    settings: list[tuple[str, str, Callable[[Any], str]]] = [
        *((name, title, _cell) for name, title in RATES.items()),
        ("restore_best", "then restored", lambda is_set: "best weights" if is_set else "-"),
        ("warmup_steps", "warm-up", lambda steps: counted(steps, "step") if steps else "-"),
        ("own_bias_correction", "bias correction", {None: "-", True: "own", False: "shared"}.__getitem__),
        ("frozen_statistics", "frozen statistics", lambda kept: kept or planned),
    ]
    for name, title, cell in settings:
        values = [getattr(phase, name) for phase in phases]
        if any(value != DEFAULTS[name] for value in values) or (name == "frozen_statistics" and model is not None):
            header.append(title)
            for line, value in zip(lines, values, strict=True):
                line.append(cell(value))
    return text_table(header, lines, set(range(len(header))) - right)


def who_and_how(phase: Phase) -> str:
    """The targets and rates of a phase, as text."""
    rates = [
        f"{title} {_cell(getattr(phase, name))}" for name, title in RATES.items() if getattr(phase, name) is not None
    ]
    return "; ".join([phase.who, *rates])


def _cell(value: Any) -> str:
    """A setting of a phase as short text."""
    if value is None:
        return "-"
    if isinstance(value, RulesOfPlan):
        return "a plan"
    if isinstance(value, tuple):
        texts = [f"{_target(rule)}: {_value(rule)}" for rule in value]
        return ", ".join(texts) if len(texts) < 4 else f"{texts[0]}, ... {texts[-1]} ({len(texts)} rules)"
    return type(value).__name__ if isinstance(value, LearningRateSchedule) else f"{value:g}"


def _target(rule: Rule) -> str:
    return rule.target if isinstance(rule.target, str) else describe(rule.target)


def _value(rule: Rule) -> str:
    axes = {**rule.axes, **({} if rule.learning_rate is None else {"learning_rate": rule.learning_rate})}
    values = [f"{axis} {_cell(value) if not isinstance(value, (str, bool)) else value}" for axis, value in axes.items()]
    return f"{rule.multiplier:g}" if set(axes) == {"multiplier"} else ", ".join(values)


def _shortened(who: str) -> str:
    targets = who.split(", ")
    if len(who) <= MAX_CHARACTERS or len(targets) < 3:
        return who
    return f"{targets[0]}, ... {targets[-1]} ({len(targets)} targets)"


def _numbers(phases: "Phases", model: keras.Layer) -> list[tuple[int, int, int]]:
    """For each phase the numbers of trainable, newly unfrozen and newly frozen parameters."""
    plan = plan_of(model).whole
    size = {id(row.variable): row.num_parameters for row in plan.rows}
    before: frozenset[int] = frozenset()
    result = []
    for in_phase in resolve(phases, plan, model, first_rate_of(model)):
        now = trained_in(in_phase)
        result.append(tuple(sum(size[key] for key in keys) for keys in (now, now - before, before - now)))
        before = now
    return result  # type: ignore[return-value]
