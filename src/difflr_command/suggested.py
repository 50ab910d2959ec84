"""`suggested`: what `difflr.suggest` says about a run that is prepared."""

import contextlib
import os
import sys
from pathlib import Path

import keras

import difflr
from difflr_command.loss import Compiling
from difflr_command.settings import Settings


def journal_of(checkpoint: Path) -> Path:
    """Where trials are kept, beside the checkpoint of the run.

    Args:
        checkpoint: Its folder.
    """
    return checkpoint.with_name(f"{checkpoint.name}.choosing.json")


def suggested(
    settings: Settings,
    model: keras.Model,
    batches: keras.utils.PyDataset,
    epochs: tuple[int, int],
    plan: difflr.Plan,
    *,
    compiling: Compiling,
    class_weight: dict[int, float] | None = None,
    budget: float | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> difflr.Choice:
    """What `difflr.suggest` says about a run that is prepared.

    Args:
        settings: The settings: what they say about the plan stays.
        model: The model.
        batches: What is trained on.
        epochs: Those of the head alone, and of everything.
        plan: The plan that the settings make.
        compiling: Loss and metrics, or nothing if the model has its own.
        class_weight: How much each class counts.
        budget: As for `difflr.suggest`.
        journal: As for `difflr.suggest`.
    """
    asked = settings.plan is not None or settings.rules or settings.recipes or settings.norm != "auto"
    with contextlib.redirect_stdout(sys.stderr):  # the progress is no result
        return difflr.suggest(
            model,
            batches,
            freeze_epochs=epochs[0],
            epochs=epochs[1],
            plan=plan if asked else None,
            loss=compiling.get("loss"),
            class_weight=class_weight,
            budget=budget,
            seed=settings.seed,
            journal=journal,
        )
