"""A run that is ready to begin."""

import dataclasses

import keras
import numpy as np

import difflr
from difflr.choosing.stages import cycles
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


@dataclasses.dataclass
class Run:
    """A run that is ready to begin.

    Args:
        model: What is trained.
        whole: What is saved: the same layers, with the vectorization of texts before them.
        data: The data.
        batches: What is trained on.
        plan: The plan.
        freeze_epochs: Epochs with only the head.
        epochs: Epochs with everything, at most.
        learning_rate: The base rate.
        compiling: Loss and metrics, or nothing if the model has its own.
        class_weights: How much each class counts; `None`: all the same.
        checkpoint: What an interrupted run leaves.
        notes: What the user should know.
        info: What the model's file says besides.
        changes: How images are changed at random while training.
    """

    model: keras.Model
    whole: keras.Model
    data: Data
    batches: Batches
    plan: difflr.Plan
    freeze_epochs: int
    epochs: int
    learning_rate: float
    compiling: Compiling
    class_weights: dict[int, float] | None
    checkpoint: Checkpoint
    notes: list[str]
    info: difflr.models.ModelInfo
    changes: tuple[str, ...]

    @property
    def total_epochs(self) -> int:
        """All epochs, at most."""
        return self.freeze_epochs + self.epochs

    @property
    def phases(self) -> difflr.Phases:
        """The head alone, if it is, and everything."""
        return cycles(self.freeze_epochs, *self._steps)

    @property
    def rates(self) -> Rates:
        """The highest base rates that training reaches, from the schedules of its phases."""
        *head, plan = (
            self.learning_rate * float(keras.ops.convert_to_numpy(phase.schedule(np.arange(number))).max())
            for phase, number in zip(self.phases, filter(None, self._steps), strict=True)
        )
        return Rates(head[0] if head else None, plan)

    @property
    def _steps(self) -> tuple[int, int]:
        """Of the head alone, and of everything."""
        return self.freeze_epochs * self.batches.num_batches, self.epochs * self.batches.num_batches
