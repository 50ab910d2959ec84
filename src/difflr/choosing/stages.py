"""How `fine_tune` trains by default: its plan, and the cycles of its stages."""

from collections.abc import Sequence
from typing import Literal

import keras

from difflr.checks import checked_number
from difflr.choosing.fine_tune_settings import default_ratio, pretrained_statistics
from difflr.depth.named_head import HEAD, Target, is_default, named_head
from difflr.phases import Phase, Phases
from difflr.plan import FROZEN, Plan
from difflr.recipes import discriminative
from difflr.schedules import OneCycle


def cycles(freeze_epochs: int, head_steps: int, steps: int, *, head: Sequence[str] = (HEAD,)) -> Phases:
    """The phases of `fine_tune`: a cycle for the head alone, then one for everything with half the peak.

    Args:
        freeze_epochs: Integer, the epochs of the head alone.
        head_steps: Integer, the steps of the head alone.
        steps: Integer, the steps with everything trainable.
        head: The targets of the head.
    """
    everything = Phase("*", schedule=OneCycle(0.5, steps, 0.3, division_factor=5, final_division_factor=2e4))
    if not freeze_epochs:
        return Phases([everything])
    alone = Phase(list(head), epochs=freeze_epochs, schedule=OneCycle(1.0, head_steps, 0.99, 25, 4e3))
    return Phases([alone, everything])


def default_plan(
    model: keras.Model,
    rate_ratio: float | None = None,
    head: Target = HEAD,
    normalization: Literal["frozen", "trained"] | None = "trained",
) -> Plan:
    """The plan of `fine_tune`, without exclusions from weight decay.

    Args:
        model: A built model.
        rate_ratio: As for `fine_tune`.
        head: As for `fine_tune`.
        normalization: As for `fine_tune`.
    """
    ratio = default_ratio(model, head)[0] if rate_ratio is None else checked_number(rate_ratio, "rate_ratio", lowest=1)
    rates = discriminative(model, 1 / ratio, head=head)
    declared = [(row.variable, row.multiplier) for row in Plan(model).rows if row.multiplier not in (0, 1)]
    if declared:
        rates *= Plan(model, declared)  # which a recipe alone replaces
    kept = pretrained_statistics(model, head) if normalization == "frozen" else []
    kept = [layer for layer in kept if layer.trainable]
    return rates * Plan(model, [(layer, FROZEN) for layer in kept]) if kept else rates


def head_paths(model: keras.Model, head: Target) -> list[str]:
    """The head as text, so that phases can be saved.

    Args:
        model: A built model.
        head: The target that is the head.
    """
    if is_default(head):
        return [HEAD]
    in_head = named_head(model, head)
    return [row.path for row in Plan(model).rows if id(row.variable) in in_head]
