"""The report of `difflr fine-tune`: what the tuned model gets wrong, its data, its rates, and how to make it again."""

import dataclasses
from collections.abc import Callable, Sequence

import keras
import numpy as np

import difflr
from difflr.data import ImageFiles
from difflr.models.augmented import augmented_images
from difflr.report.measured import Measured
from difflr_command import inputs
from difflr_command.backend import quietly
from difflr_command.loss import output_activation
from difflr_command.network import ARRAYS, TEXTS, probabilities
from difflr_command.run import Run
from difflr_command.settings import HOW_IT_RUNS, Settings, command

AUGMENTED, COLUMNS = 4, 6  # images, and how often each is shown


def write_report(settings: Settings, run: Run) -> None:
    """Writes the report, if one is asked for.

    Args:
        settings: The settings.
        run: The run, whose model is trained.
    """
    if settings.report is None:
        return
    difflr.write_report(
        settings.report,
        run.model,
        _with_phases(run),
        phases=run.phases,
        title=title_of(settings),
        settings=shown_settings(settings, run),
        evaluation=evaluation_of(settings, run),
        data=_summary_of(run),
        command=command("fine-tune", settings, keras.backend.backend()),
        earlier=settings.compare or (),
        steps_per_epoch=run.batches.num_batches,
    )


def _summary_of(run: Run) -> difflr.report.DataSummary:
    """The data, and how some images may look while the model trains."""
    data, images = run.data, np.empty(0)
    if run.changes:
        few = of_several_classes(data.train, AUGMENTED)
        images = augmented_images(few, run.changes, COLUMNS).reshape(-1, *few.shape[1:])
    return difflr.report.DataSummary(
        data.counts(),
        skipped=data.skipped,
        notes=run.notes,
        images=list(images),
        caption=f"Some images, and how they may look while the model trains: {', '.join(run.changes)}.",
    )


def of_several_classes(examples: difflr.data.Examples, number: int) -> np.ndarray:
    """Some images: the first of each class, then the second ones; without classes such that lie far apart.

    Args:
        examples: All.
        number: How many.
    """
    positions = np.linspace(0, len(examples) - 1, min(number, len(examples))).astype("int64")
    if examples.task == "classes":
        order = np.argsort(examples.y, kind="stable")
        labels = examples.y[order]
        turn = np.arange(len(order)) - np.searchsorted(labels, labels)  # the how manieth of its class
        positions = order[np.lexsort((labels, turn))][:number]
    return np.asarray(examples.x[positions])


def _with_phases(run: Run) -> dict[str, list[float]]:
    """The history, with the number of the phase in each epoch."""
    numbers = range(len(run.checkpoint.history))
    phases = [1.0 if number < run.freeze_epochs else float(len(run.phases)) for number in numbers]
    return columns(run.checkpoint.history) | {"phase": phases}


def title_of(settings: Settings) -> str:
    """The run in a few words."""
    return f"{settings.model.stem} on {settings.data.name or settings.data}"


def shown_settings(settings: Settings, run: Run) -> dict[str, str]:
    """The settings as text, those that were asked for and those that follow from the data."""
    given = dataclasses.asdict(settings).items()
    shown = {
        name: str(value)
        for name, value in given
        if value is not None and value is not False and name not in ("compare", "log", "report", *HOW_IT_RUNS)
    }
    return shown | {
        "classes": ", ".join(run.data.train.class_names),
        "data": inputs.described(settings.data, run.info.data, run.data),
        "skipped": str(len(run.data.skipped)),
    }


def columns(history: Sequence[dict[str, float]]) -> dict[str, list[float]]:
    """Name -> a value for each epoch."""
    return {name: [epoch[name] for epoch in history] for name in (history[0] if history else {})}


def evaluation_of(settings: Settings, run: Run) -> Measured | None:
    """What the model gets right and wrong on the validation data; `None` if there is none."""
    batches, validation = run.data.validation_batches(settings.batch_size), run.data.validation
    if batches is None or validation is None:
        return None
    with quietly():
        outputs = [run.model.predict_on_batch(batches[number][0]) for number in range(batches.num_batches)]
    scores = np.concatenate([np.asarray(part, "float64") for part in outputs])
    task = run.info.task
    if task != "numbers":
        scores = probabilities(scores, task, output_activation(run.model))
    names = inputs.names_of(validation, settings.validation or settings.data, run.info.data)
    show = _as_read(run.whole, validation.x) if run.info.data == TEXTS else validation.x.__getitem__
    class_names = () if task == "numbers" else _names_of(validation.class_names, scores.shape[1])
    return difflr.evaluation(
        validation.y, scores, class_names, names=names, show=None if run.info.data == ARRAYS else show
    )


def _names_of(class_names: tuple[str, ...], number: int) -> tuple[str, ...]:
    """A name for each output: a model may tell more classes apart than the data has."""
    return (*class_names, *(str(position) for position in range(len(class_names), number)))


def _as_read(model: keras.Model, x: np.ndarray | ImageFiles) -> Callable[[int], str] | None:
    """The texts as the model reads them: its words, out of their numbers."""
    words = difflr.models.after_vectorization(model)[0].get_vocabulary()
    if np.asarray(x[0]).dtype.kind not in "iu":
        return None
    return lambda position: " ".join(words[number] for number in np.trim_zeros(np.asarray(x[position]), "b"))
