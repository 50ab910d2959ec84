"""Phases as a table, for reading before training."""

from typing import TYPE_CHECKING, Any

import keras

from difflr.optimizers.plan_of import plan_of
from difflr.phases.resolve import resolve
from difflr.text_table import html_table, text_table

if TYPE_CHECKING:
    from difflr.phases.phases import Phases

MAX_CHARACTERS = 60


def as_text(phases: "Phases", model: Any = None) -> str:
    """The table; numbers to the right.

    Args:
        phases: The phases.
        model: A built model, to tell how many parameters are trainable.
    """
    return text_table(*_cells(phases, model))


def as_html(phases: "Phases") -> str:
    """The table as HTML, for notebooks.

    Args:
        phases: The phases.
    """
    return html_table(*_cells(phases, None))


def _cells(phases: "Phases", model: Any) -> tuple[list[str], list[list[str]], set[int]]:
    """Header, lines, and which columns are aligned to the left."""
    header = ["phase", "trainable", "until"]
    lines = [[str(number), _shortened(phase.who), phase.until] for number, phase in enumerate(phases, start=1)]
    right = {0}
    if model is not None:
        header += ["parameters trainable", "joining", "freezing"]
        right |= {3, 4, 5}
        for line, numbers in zip(lines, _numbers(phases, model), strict=True):
            line += [f"{number:,}" for number in numbers]
    if any(phase.warmup_steps for phase in phases):
        header.append("warm-up")
        for line, phase in zip(lines, phases, strict=True):
            line.append(f"{phase.warmup_steps} steps" if phase.warmup_steps else "-")
    if any(phase.own_bias_correction is not None for phase in phases):
        header.append("bias correction")
        for line, phase in zip(lines, phases, strict=True):
            line.append({None: "-", True: "own", False: "shared"}[phase.own_bias_correction])
    if model is not None or any(phase.frozen_statistics for phase in phases):
        planned = "as planned" if model is None else plan_of(model).whole.frozen_statistics
        header.append("frozen statistics")
        for line, phase in zip(lines, phases, strict=True):
            line.append(phase.frozen_statistics or planned)
    return header, lines, set(range(len(header))) - right


def _shortened(who: str) -> str:
    targets = who.split(", ")
    if len(who) <= MAX_CHARACTERS or len(targets) < 3:
        return who
    return f"{targets[0]}, ... {targets[-1]} ({len(targets)} targets)"


def _numbers(phases: "Phases", model: keras.Layer) -> list[tuple[int, int, int]]:
    """For each phase how many parameters are trainable in it, join and freeze."""
    plan = plan_of(model).whole
    size = {id(row.variable): row.num_parameters for row in plan.rows}
    before: frozenset[int] = frozenset()
    result = []
    for each in resolve(phases, plan, model):
        now = each.variables
        result.append(tuple(sum(size[key] for key in keys) for keys in (now, now - before, before - now)))
        before = now
    return result  # type: ignore[return-value]
