"""A run that is ready to begin."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

import difflr
from difflr.data import Batches
from difflr_command.checkpoint import Checkpoint
from difflr_command.inputs import Data
from difflr_command.loss import Compiling


@dataclasses.dataclass(frozen=True)
class Rates:
    """The highest base rates.

    Args:
        head: While the head trains alone; `None` if it never does.
        plan: Afterwards.
    """

    head: float | None
    plan: float


def rates_of(learning_rate: float, phases: difflr.Phases, steps: Sequence[int]) -> Rates:
    """The highest base rates that training reaches, from the schedules of its phases.

    Args:
        learning_rate: The base rate.
        phases: The phases of `difflr.fine_tune`: the head alone, if it is, and everything.
        steps: How many steps each has.
    """
    highest = [
        learning_rate * float(keras.ops.convert_to_numpy(phase.schedule(np.arange(number))).max())
        for phase, number in zip(phases, steps, strict=True)
    ]
    return Rates(highest[0] if len(highest) > 1 else None, highest[-1])


@dataclasses.dataclass
class Run:
    """A run that is ready to begin.

    Args:
        model: What is trained.
        whole: What is saved: the same layers, with the vectorization of texts before them.
        data: The data.
        plan: The plan.
        freeze_epochs: Epochs with only the head.
        phases: The head alone, if it is, and everything.
        rates: The highest base rates.
        compiling: Loss and metrics, or nothing if the model has its own.
        checkpoint: What an interrupted run leaves.
        notes: What the user should know.
        info: What the model's file says besides.
        epochs: Epochs with everything, at most.
        learning_rate: The base rate.
        class_weights: How much each class counts; `None`: all the same.
        changes: How pictures are changed at random while training.
        batches: What is trained on.
        before: The precision that layers had.
    """

    model: keras.Model
    whole: keras.Model
    data: Data
    plan: difflr.Plan
    freeze_epochs: int
    phases: difflr.Phases
    rates: Rates
    compiling: Compiling
    checkpoint: Checkpoint
    notes: list[str]
    info: difflr.models.ModelInfo
    epochs: int
    learning_rate: float
    class_weights: dict[int, float] | None
    changes: tuple[str, ...]
    batches: Batches
    before: list[tuple[keras.Layer, keras.DTypePolicy]] = dataclasses.field(default_factory=list)
