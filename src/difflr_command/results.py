"""What `difflr fine-tune` shows and writes."""

import dataclasses
import textwrap
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

import difflr
from difflr.data.examples import some
from difflr.files import whole_file
from difflr.text_table import counted
from difflr_command import inputs
from difflr_command.plan_table import print_rates
from difflr_command.run import Run
from difflr_command.run_report import columns, of_several_classes
from difflr_command.settings import Settings

MOST_CLASSES = 50
SHOWN = 4  # images on a contact sheet


def introduce(out: Console, settings: Settings, run: Run) -> None:
    """Prints the plan of the run before it starts.

    Args:
        out: Where to.
        settings: The settings.
        run: The run.
    """
    data = run.data
    parameters = counted(run.whole.count_params(), "parameter")
    _line(out, "model", f"{settings.model}: {parameters}; {keras.backend.backend()}")
    _line(out, "data", inputs.described(settings.data, run.info.data, data))
    counts = [f"{name}: {train:,} + {validation:,}" for name, (train, validation) in data.counts().items()]
    if counts:
        rest = f", ... ({len(counts):,} in all)" if len(counts) > MOST_CLASSES else ""
        _line(out, "classes", f"{', '.join(counts[:MOST_CLASSES])}{rest} (to train on + to validate on)")
    for note in run.notes:
        _line(out, "", note)
    if data.skipped:
        _line(out, "skipped", some([f"{name} ({reason})" for name, reason in data.skipped]))
    out.print()
    print_rates(out, run.plan, run.rates.plan)
    _line(out, None, _phases(run))
    out.print()
    if run.checkpoint.epochs:
        out.print(f"Going on after epoch {run.checkpoint.epochs}.")


def _phases(run: Run) -> str:
    """Which epochs train what, up to which rate."""
    head, total = run.freeze_epochs, run.total_epochs
    both = f"up to the rates above, {run.rates.plan:.3g} times the multiplier."
    if run.rates.head is None:
        return f"{_epochs(1, total)}: all, {both}"
    return f"{_epochs(1, head)}: the head alone, up to {run.rates.head:.3g}. {_epochs(head + 1, total)}: all, {both}"


def _epochs(first: int, last: int) -> str:
    return f"Epoch {first}" if first == last else f"Epochs {first} to {last}"


def _line(out: Console, title: str | None, text: str) -> None:
    """A text behind a title of 8 columns, if it has one; broken between words on a terminal."""
    whole = text if title is None else f"{title:<8}{text}"
    width = out.width if out.is_terminal else len(whole) + 1
    indent = "" if title is None else " " * 8
    for line in textwrap.wrap(whole, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False):
        out.print(line)


def write_model(settings: Settings, run: Run) -> None:
    """Writes the model as stock Keras: it loads without difflr, and is compiled for evaluation only.

    Args:
        settings: The settings.
        run: The run.
    """
    trained = getattr(run.whole, "optimizer", None)
    if run.compiling:  # Keras loads no optimizer that has slots and was never built: SGD has none
        run.whole.compile(keras.optimizers.SGD(), loss=run.compiling["loss"], metrics=run.compiling["metrics"])
    else:
        run.whole.compiled = False
    with whole_file(settings.output) as unfinished:
        run.whole.save(unfinished)
        difflr.models.write_info(unfinished, run.info)
    run.whole.optimizer = trained  # which the report is about


def write_sheet(settings: Settings, run: Run) -> Path | None:
    """Writes a contact sheet of how images are changed while training, beside the report; returns where.

    Args:
        settings: The settings.
        run: The run.
    """
    if settings.report is None or not run.changes:
        return None
    from PIL import Image

    sheet = difflr.models.augmentation_sheet(of_several_classes(run.data.train, SHOWN), run.changes)
    file = settings.report.with_suffix(".augmented.png")
    with whole_file(file) as unfinished:
        Image.fromarray(sheet[..., 0] if sheet.shape[-1] == 1 else sheet).save(unfinished, "PNG")
    return file


def as_data(settings: Settings, run: Run, seconds: float) -> dict[str, Any]:
    """The result as plain data, for `--json`.

    Args:
        settings: The settings.
        run: The run.
        seconds: How long it took.
    """
    data = run.data
    return {
        "difflr": difflr.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "model": str(settings.model),
        "data": str(settings.data),
        "task": run.info.task,
        "classes": list(data.train.class_names),
        "num_train": len(data.train),
        "num_validation": data.num_validation,
        "counts": {name: list(numbers) for name, numbers in data.counts().items()},
        "skipped": [list(pair) for pair in data.skipped],
        "notes": run.notes,
        "learning_rate": run.learning_rate,
        "highest_rates": dataclasses.asdict(run.rates),
        "freeze_epochs": run.freeze_epochs,
        "epochs": run.epochs,
        "best_epoch": run.checkpoint.best,
        "class_weights": run.class_weights,
        "augmentation": list(run.changes),
        "seconds_waited_for_data": round(run.batches.seconds_waited, 3),
        "plan": difflr.interop.plan_to_dict(run.plan),
        "history": columns(run.checkpoint.history),
        "output": str(settings.output),
        "report": None if settings.report is None else str(settings.report),
        "seconds": round(seconds, 1),
    }


def conclude(out: Console, settings: Settings, result: dict[str, Any]) -> None:
    """What came out.

    Args:
        out: Where to.
        settings: The settings.
        result: What `as_data` returned.
    """
    best = result["best_epoch"]
    last = {name: values[-1 if best is None else best] for name, values in result["history"].items()}
    epochs = len(next(iter(result["history"].values()), ()))
    if best is not None and best < epochs - 1:
        out.print(f"\nEpoch {best + 1} of {epochs} was the best on the validation data: its weights are kept.")
    if "val_accuracy" in last and result["task"] == "classes":
        number = result["num_validation"]
        right = round(last["val_accuracy"] * number)
        out.print(f"\nValidation accuracy: {100 * last['val_accuracy']:.1f} % ({right:,} of {number:,} right).")
    elif "val_mae" in last:
        out.print(f"\nValidation: off by {last['val_mae']:.4g} on the average.")
    elif "val_f1" in last:
        out.print(f"\nValidation: F1 {last['val_f1']:.3f}; {100 * last['val_accuracy']:.1f} % of all labels right.")
    written = [str(path) for path in (settings.output, settings.report) if path is not None]
    out.print(f"Written: {', '.join(written)}")
