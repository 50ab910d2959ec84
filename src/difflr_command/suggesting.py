"""What `difflr suggest` does, and `--learning-rate auto` before it trains."""

import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path

import keras
import typer

import difflr
from difflr_command import console
from difflr_command.loss import Compiling
from difflr_command.settings import Settings


def measure(settings: Settings, budget: float | None, output: Path | None, as_json: bool) -> None:
    """Measures, prints, and writes the choice.

    Args:
        settings: Model, data and plan.
        budget: As for `difflr.suggest`.
        output: Where to write the choice.
        as_json: Whether to print it as JSON.
    """
    from difflr_command.tuning import prepare

    out = console.messages() if as_json else console.output()
    with console.quiet() if as_json else contextlib.nullcontext(), tempfile.TemporaryDirectory() as folder:
        with console.bad_input():
            run = prepare(dataclasses.replace(settings, output=Path(folder) / "tuned.keras"), False, out)
        try:
            choice = suggested(
                settings,
                run.model,
                run.batches,
                (run.freeze_epochs, run.epochs),
                run.plan,
                compiling=run.compiling,
                class_weight=run.class_weights,
                budget=budget,
            )
        except KeyboardInterrupt:
            raise typer.Exit(console.INTERRUPTED) from None
        except Exception as error:
            raise console.stop(error, console.FAILED) from None
        if output is not None:
            choice.save(output)
        for line in str(choice).splitlines():
            out.print(line)
        if output is not None:
            out.print(f"Written: {output}")
    if as_json:
        typer.echo(json.dumps(choice.to_dict(), indent=1))


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
