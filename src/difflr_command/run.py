"""A run that is ready to begin."""

import dataclasses

import keras
import numpy as np

import difflr
from difflr.fine_tuning.fine_tune import two_cycles
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


def rates_of(learning_rate: float, head_steps: int, steps: int) -> Rates:
    """The highest base rates that `difflr.fine_tune` reaches, read off its schedule.

    Args:
        learning_rate: Its argument.
        head_steps: Steps in which the head trains alone.
        steps: Steps after these.
    """
    schedule = two_cycles(learning_rate, head_steps, steps)
    rates = keras.ops.convert_to_numpy(schedule(np.arange(head_steps + steps)))
    return Rates(float(rates[:head_steps].max()) if head_steps else None, float(rates[head_steps:].max()))


@dataclasses.dataclass
class Run:
    """A run that is ready to begin.

    Args:
        model: What is trained.
        whole: What is saved: the same layers, with the vectorization of texts before them.
        data: The data.
        plan: Who trains at which rate.
        freeze_epochs: Epochs with only the head.
        rates: The highest base rates.
        compiling: Loss and metrics, or nothing if the model has its own.
        checkpoint: What an interrupted run leaves.
        notes: What the user should know.
        about: What has to be known to predict with the model, beside the classes.
    """

    model: keras.Model
    whole: keras.Model
    data: Data
    plan: difflr.Plan
    freeze_epochs: int
    rates: Rates
    compiling: Compiling
    checkpoint: Checkpoint
    notes: list[str]
    about: dict[str, object]
