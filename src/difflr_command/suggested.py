"""`suggested`: what `difflr.suggest` says about a run that is prepared."""

import contextlib
import os
import sys
from pathlib import Path

import difflr
from difflr_command.run import Run
from difflr_command.settings import Settings


def journal_of(checkpoint: Path) -> Path:
    """Where trials are kept, beside the checkpoint of the run.

    Args:
        checkpoint: Its folder.
    """
    return checkpoint.with_name(f"{checkpoint.name}.choosing.json")


def suggested(
    settings: Settings,
    run: Run,
    *,
    budget: float | None = None,
    journal: str | os.PathLike[str] | None = None,
) -> difflr.Choice:
    """What `difflr.suggest` says about a run that is prepared.

    Args:
        settings: The settings: what they say about the plan stays.
        run: The run.
        budget: As for `difflr.suggest`.
        journal: As for `difflr.suggest`.
    """
    asked = settings.plan is not None or settings.rule or settings.recipe or settings.norm != "auto"
    with contextlib.redirect_stdout(sys.stderr):  # the progress is no result
        return difflr.suggest(
            run.model,
            run.batches,
            freeze_epochs=run.freeze_epochs,
            epochs=run.epochs,
            plan=run.plan if asked else None,
            loss=run.compiling.get("loss"),
            class_weight=run.class_weights,
            budget=budget,
            seed=settings.seed,
            journal=journal,
        )
