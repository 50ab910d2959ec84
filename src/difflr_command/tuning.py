"""What `difflr fine-tune` does: reads model and data, makes the plan, trains."""

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator

import keras
import numpy as np
import typer
from rich.console import Console

import difflr
from difflr import keras_private
from difflr.choosing.setting import ADAMW
from difflr.text_table import counted
from difflr_command import choices, console, inputs, results, run_report, sources, trackers
from difflr_command.checkpoint import Checkpoint
from difflr_command.loss import compiling_for, with_head
from difflr_command.models import load
from difflr_command.plan_options import make_plan
from difflr_command.progress import ShowProgress, reading
from difflr_command.run import Run
from difflr_command.settings import HOW_IT_RUNS, Settings, command, option
from difflr_command.suggested import journal_of, suggested


def tune(settings: Settings) -> None:
    """Runs it all; errors become one line and an exit code."""
    start = time.perf_counter()
    with console.quiet(settings.json) as out:
        with console.bad_input():
            run = prepare(settings, out)
        results.introduce(out, settings, run)
        progress = ShowProgress(out, run.total_epochs, run.freeze_epochs, run.checkpoint.epochs)
        with _tracked(settings, run) as callbacks:
            with _training(settings, run, progress):
                _train(settings, run, progress, callbacks)
                results.write_model(settings, run)
            with _reporting(settings):
                results.write_sheet(settings, run)
                run_report.write_report(settings, run)
        run.checkpoint.remove()
        journal_of(run.checkpoint.folder).unlink(missing_ok=True)
    result = results.as_data(settings, run, time.perf_counter() - start)
    results.conclude(out, settings, result)
    if settings.json:
        console.print_json(result)


def prepare(settings: Settings, out: Console) -> Run:
    """All that comes before the first step, what is quick first; nothing is written.

    Raises:
        ValueError: If something that was asked for is wrong.
    """
    checkpoint = Checkpoint(settings.output.with_name(settings.output.name + ".checkpoint"), settings.patience)
    checkpoint.open(settings.resume)
    for file in settings.compare or ():
        difflr.read_report(file)  # before anything costly is done
    keras_private.set_random_seed(settings.seed)
    network = load(settings.model, size=settings.pixels)
    weights = _weights_of(network)
    source = sources.source(settings, network)
    notes = []
    if settings.with_new_head:
        network, note = with_head(network, source, settings.features)
        notes.append(note)
    network, compiling = compiling_for(settings, network, source)
    model, whole = source.fitted(network)
    plan = make_plan(model, settings.plan, settings.rule, settings.recipe)
    trains_body = _trains_body(model, plan)
    freeze_epochs = int(trains_body) if settings.freeze_epochs is None else settings.freeze_epochs
    if freeze_epochs and not trains_body:
        raise ValueError("The plan trains nothing but the head: leave out --freeze-epochs, or give --freeze-epochs 0.")
    with reading(out) as on_image:
        data = inputs.split(source.read(on_image), settings)
    checkpoint.compare(_identity(settings, weights, data))
    batches = data.batches(settings.batch_size, settings.seed)
    if settings.accumulate > batches.num_batches:
        number = counted(batches.num_batches, "batch", "batches")
        raise ValueError(
            f"--accumulate {settings.accumulate} is more than an epoch's {number}: give less, or a smaller --batch-size."
        )
    epochs = settings.epochs or choices.epochs_for(batches.num_batches)
    chosen = difflr.fine_tune_settings(model, epochs=epochs, steps_per_epoch=batches.num_batches)
    plan, said = choices.with_normalization(plan, model, settings, chosen)
    notes += [said] if said else []
    weighted, said = (None, None) if settings.no_class_weights else choices.class_weights(data.train)
    notes += [said] if said else []
    run = Run(
        model=model,
        whole=whole,
        data=data,
        batches=batches,
        plan=plan,
        freeze_epochs=freeze_epochs,
        epochs=epochs,
        learning_rate=settings.rate or chosen.learning_rate,
        compiling=compiling,
        class_weights=weighted,
        checkpoint=checkpoint,
        notes=[*source.notes, *notes, *data.notes],
        info=source.info,
        changes=source.changes,
    )
    if settings.learning_rate == "auto":
        _measure_rates(settings, run)
    elif settings.learning_rate is None:
        run.notes.append(f"learning rate {run.learning_rate:.3g}: {chosen.reasons['learning_rate']}")
    return run


def _measure_rates(settings: Settings, run: Run) -> None:
    """Gives a run the plan and the rate that `difflr.suggest` measures."""
    journal = journal_of(run.checkpoint.folder)
    try:
        choice = suggested(settings, run, journal=journal)
    except KeyboardInterrupt:
        kept = f"complete trials are kept in {journal}; the same command continues with the others"
        raise console.interrupted(kept if journal.exists() else "nothing was begun") from None
    run.plan, run.learning_rate = choice.plan, choice.learning_rate
    if not choice.head_first:
        run.epochs, run.freeze_epochs = run.total_epochs, 0
    run.notes.append(f"learning rate {run.learning_rate:.3g}, measured: {choice.reason}; {choice.cost}")


def _trains_body(model: keras.Model, plan: difflr.Plan) -> bool:
    """Whether something but the head is trainable."""
    head = {id(variable) for variable in difflr.depth.depth_groups(model)[-1].variables}
    return any(not row.frozen and id(row.variable) not in head for row in plan.rows)


def _weights_of(model: keras.Model) -> str:
    """A number that changes when the model does."""
    digest = hashlib.sha256(json.dumps([layer.name for layer in model.layers]).encode())
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _identity(settings: Settings, weights: str, data: inputs.Data) -> dict[str, object]:
    """The options and file contents that must be the same to resume a run."""
    options = {
        option(name): value
        for name, value in json.loads(json.dumps(dataclasses.asdict(settings), default=str)).items()
        if name not in ("model", "data", "output", "report", "plan", "validation", "compare", "log", *HOW_IT_RUNS)
    }
    plan = settings.plan.read_bytes() if settings.plan else b""
    return {
        "backend": keras.backend.backend(),
        **options,
        "model": weights,
        "plan": hashlib.sha256(plan).hexdigest(),
        "images": data.manifest(),
        "data": data.fingerprint(),  # last: it also depends on the options
    }


@contextlib.contextmanager
def _training(settings: Settings, run: Run, progress: ShowProgress) -> Iterator[None]:
    """An interrupt and an error in training, as a message and an exit code."""
    kept, epochs = run.checkpoint, counted(run.total_epochs, "epoch")
    try:
        yield
    except KeyboardInterrupt:
        progress.close()
        messages = console.messages()
        if not kept.epochs_on_disk:
            messages.print("\nInterrupted before the first epoch was complete: nothing is kept.")
        else:
            messages.print(
                f"\nInterrupted after {kept.epochs} of {epochs}, which are kept in {kept.folder}. To resume:\n\n  "
                f"{command('fine-tune', settings, keras.backend.backend())} --resume\n"
            )
        raise typer.Exit(console.INTERRUPTED) from None
    except Exception as error:
        progress.close()
        began = progress.epoch is not None
        if began and kept.epochs_on_disk:
            are = "is" if kept.epochs == 1 else "are"
            console.tell(
                "note", f"{kept.epochs} of {epochs} {are} kept in {kept.folder}; --resume continues from there"
            )
        raise console.stop(error, console.FAILED if began else console.BAD_INPUT) from None


@contextlib.contextmanager
def _reporting(settings: Settings) -> Iterator[None]:
    """An error or an interrupt in the report, when the model is safe already."""
    try:
        yield
    except KeyboardInterrupt:
        raise console.interrupted(f"{settings.output} is written; only the report is not; --resume writes it") from None
    except Exception as error:
        console.tell(
            "note", f"the tuned model is written to {settings.output}; only the report is not; --resume writes it"
        )
        raise console.stop(error, console.FAILED) from None


def _tracked(settings: Settings, run: Run) -> contextlib.AbstractContextManager[list[keras.callbacks.Callback]]:
    """The callbacks of `--log`."""
    names, title = trackers.trackers_in(settings.log), run_report.title_of(settings)
    shown, kept = run_report.shown_settings(settings, run), run.checkpoint
    files = [file for file in (settings.output, settings.report) if file is not None]
    board = settings.output.with_suffix(".tensorboard")
    return trackers.tracked(names, title, shown, kept.history, board, kept.log_ids, files)


def _train(settings: Settings, run: Run, progress: ShowProgress, more: list[keras.callbacks.Callback]) -> None:
    optimizer = None
    if settings.accumulate > 1:
        optimizer = keras.optimizers.AdamW(gradient_accumulation_steps=settings.accumulate, **ADAMW)
    # It may have been interrupted while the model was written.
    first = run.total_epochs if run.checkpoint.is_over else run.checkpoint.epochs
    before: list[tuple[keras.Layer, keras.DTypePolicy]] = []
    if settings.precision == "bfloat16" or (settings.precision == "auto" and choices.gpu_computes_in_bfloat16()):
        before = choices.set_precision(run.model, choices.PRECISION)
    seeds = difflr.data.EpochSeeds(settings.seed, run.batches)
    logger = [difflr.GroupLogger()] if settings.report is not None or settings.log else []
    try:
        difflr.fine_tune(
            run.model,
            run.batches,
            epochs=run.epochs,
            learning_rate=run.learning_rate,
            freeze_epochs=run.freeze_epochs,
            plan=run.plan,
            optimizer=optimizer,
            callbacks=[seeds, *logger, progress, run.checkpoint, *more],
            initial_epoch=first,
            validation_data=run.data.validation_batches(settings.batch_size),
            class_weight=run.class_weights,
            verbose=0,
            **run.compiling,
        )
    finally:
        for layer, policy in before:
            layer.dtype_policy = policy
    run.checkpoint.load_best()
