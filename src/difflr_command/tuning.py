"""What `difflr fine-tune` does: reads model and data, makes the plan, trains, writes."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import typer
from rich.console import Console

import difflr
from difflr.files import whole_file
from difflr.fine_tuning.fine_tune import default_plan
from difflr_command import console
from difflr_command.checkpoint import Checkpoint
from difflr_command.inputs import Data, read, some
from difflr_command.models import load, plan_as_data, print_plan
from difflr_command.plan_options import make_plan
from difflr_command.progress import ShowProgress


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of `difflr fine-tune` that decide about the run; see there."""

    model: Path
    data: Path
    plan: Path | None = None
    rules: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    epochs: int = 5
    freeze_epochs: int | None = None
    learning_rate: float = 2e-3
    batch_size: int = 32
    seed: int = 0
    new_head: bool = False
    features: str | None = None
    scale: str | None = None
    size: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    validation: Path | None = None
    validation_split: float = 0.2
    output: Path = Path("tuned.keras")
    report: Path | None = None


def to_go_on(settings: Settings) -> str:
    """The command that goes on with a run that was interrupted."""
    words = ["difflr", "--backend", keras.backend.backend(), "fine-tune", str(settings.model), str(settings.data)]
    for field in dataclasses.fields(settings)[2:]:
        value = getattr(settings, field.name)
        if value == field.default:
            continue
        option = _option(field.name)
        each = value if isinstance(value, tuple) else (value,)
        words += [word for one in each for word in ([option] if one is True else [option, str(one)])]
    return shlex.join([*words, "--resume"])


def _option(name: str) -> str:
    """The option for a field of `Settings`."""
    return "--" + {"rules": "rule", "recipes": "recipe"}.get(name, name).replace("_", "-")


@dataclasses.dataclass
class Run:
    """A run that is ready to begin.

    Args:
        model: What is trained.
        whole: What is saved: the same layers, with the vectorization of texts before them.
        data: The data.
        plan: Who trains at which rate.
        freeze_epochs: Epochs with only the head.
        compiling: Loss and metrics, or nothing if the model has its own.
        checkpoint: What an interrupted run leaves.
    """

    model: Any
    whole: Any
    data: Data
    plan: difflr.Plan
    freeze_epochs: int
    compiling: dict[str, Any]
    checkpoint: Checkpoint
    notes: list[str]


def tune(settings: Settings, resume: bool, as_json: bool) -> None:
    """Runs it all; errors become one line and an exit code."""
    out = console.messages() if as_json else console.output()
    start = time.perf_counter()
    with console.quiet() if as_json else contextlib.nullcontext():
        with console.bad_input():
            run = prepare(settings, resume)
        _introduce(out, settings, run)
        total = run.freeze_epochs + settings.epochs
        progress = ShowProgress(out, total, run.freeze_epochs)
        with _training(run, progress, total, to_go_on(settings)):
            _train(settings, run, progress)
            _write(settings, run)
        run.checkpoint.remove()
    result = as_data(settings, run, time.perf_counter() - start)
    _conclude(out, settings, result)
    if as_json:
        typer.echo(json.dumps(result, indent=1))


def prepare(settings: Settings, resume: bool) -> Run:
    """All that comes before the first step; nothing is written.

    Raises:
        ValueError: If something given is wrong.
    """
    for path, what in ((settings.output, "tuned model"), (settings.report, "report")):
        if path is not None:
            console.writable(path, what)
    if settings.output.suffix != ".keras":
        raise ValueError(f"The tuned model is a .keras file. Received: --output {settings.output}.")
    if not settings.learning_rate > 0:
        raise ValueError(f"--learning-rate must be above 0. Received: {settings.learning_rate}.")
    if settings.features and not settings.new_head:
        raise ValueError("--features says where a new head begins: give --new-head too.")
    if settings.report is not None:
        _check_can_report()
    keras.utils.set_random_seed(settings.seed)
    whole = load(settings.model)
    data = read(settings, whole)
    notes = list(data.notes)
    if settings.new_head:
        if not data.class_names:
            raise ValueError("--new-head is for classes, and y of the data holds no labels (whole numbers from 0).")
        whole = difflr.new_head(whole, len(data.class_names), features=settings.features)
        before = whole.layers[-1].input.shape
        notes.append(f"new head '{whole.layers[-1].name}': {before[-1]} features -> {len(data.class_names)} classes")
    compiling = _compiling(settings, whole, data)
    if not data.class_names:
        whole = load(settings.model, compile=True)
        if not whole.compiled:
            raise ValueError(
                "The targets y are no labels (whole numbers from 0), so the model's own loss is needed, and it is not "
                "compiled. Compile it before you save it, or give labels."
            )
    model = data.vectorize(whole)
    plan = make_plan(model, settings.plan, list(settings.rules), list(settings.recipes))
    freeze_epochs = settings.freeze_epochs
    if freeze_epochs is None:
        freeze_epochs = 1 if plan is None or _trains_body(model, plan) else 0
    plan = plan or default_plan(model) * difflr.no_decay(model)
    if freeze_epochs and not _trains_body(model, plan):
        raise ValueError("The plan trains nothing but the head: leave out --freeze-epochs, or give --freeze-epochs 0.")
    checkpoint = Checkpoint(settings.output.with_name(settings.output.name + ".checkpoint"), _identity(settings, data))
    checkpoint.open(resume)
    return Run(model, whole, data, plan, freeze_epochs, compiling, checkpoint, notes)


def _check_can_report() -> None:
    for name in ("jinja2", "matplotlib"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(f'--report needs {name}: pip install "difflr[report]"')


def _trains_body(model: keras.Model, plan: difflr.Plan) -> bool:
    """Whether something but the head is trainable."""
    head = {id(variable) for variable in difflr.depth.depth_groups(model)[-1].variables}
    return any(not row.frozen and id(row.variable) not in head for row in plan.rows)


def _compiling(settings: Settings, model: keras.Model, data: Data) -> dict[str, Any]:
    """Loss and metrics that fit the model's outputs and the classes.

    Raises:
        ValueError: If its outputs do not fit.
    """
    number = len(data.class_names)
    if not number:
        return {}
    shape = model.output_shape
    advice = f"Give it a new last layer: --new-head. (For {number} classes: {some(data.class_names)}.)"
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(f"The model puts out {shape}, not a number for each class. {advice}")
    activation = output_activation(model)
    if shape[1] == 1 and number == 2:
        logits = activation != "sigmoid"
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if logits else 0.5)
        return {"loss": keras.losses.BinaryCrossentropy(from_logits=logits), "metrics": [accuracy]}
    if shape[1] < number or (shape[1] > number and not data.numbered):
        raise ValueError(f"The model tells {shape[1]} classes apart, and the data has {number}. {advice}")
    logits = activation not in ("softmax", "sigmoid")
    return {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=logits), "metrics": ["accuracy"]}


def output_activation(model: Any) -> str | None:
    """The name of the activation of the model's last layer, such as `"softmax"`; `None` if it has none."""
    layer = model.layers[-1]
    if isinstance(layer, keras.Model):
        return output_activation(layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)


def _identity(settings: Settings, data: Data) -> dict[str, Any]:
    """What has to be the same for a run to go on: the options, and what is in the files."""
    options = {
        _option(name): value
        for name, value in json.loads(json.dumps(dataclasses.asdict(settings), default=str)).items()
        if name not in ("model", "data", "output", "report", "plan", "validation")
    }
    plan = settings.plan.read_bytes() if settings.plan else b""
    return {
        "backend": keras.backend.backend(),
        **options,
        "model": hashlib.sha256(settings.model.read_bytes()).hexdigest(),
        "plan": hashlib.sha256(plan).hexdigest(),
        "data": data.fingerprint(),  # last: it also depends on the options
    }


def _introduce(out: Console, settings: Settings, run: Run) -> None:
    out.print(f"model   {settings.model}: {run.whole.count_params():,} parameters; {keras.backend.backend()}")
    out.print(f"data    {run.data.described}")
    if run.data.class_names:
        names = list(run.data.class_names)
        shown = ", ".join(names) if len(names) <= 20 else f"{', '.join(names[:20])}, ..."
        out.print(f"classes {shown} (in the order of the outputs)")
    for note in run.notes:
        out.print(f"        {note}")
    if run.data.skipped:
        out.print(f"skipped {some([f'{name} ({reason})' for name, reason in run.data.skipped])}")
    out.print()
    print_plan(out, run.plan, settings.learning_rate)
    out.print()
    if run.checkpoint.epochs:
        out.print(f"Going on after epoch {run.checkpoint.epochs}.")


@contextlib.contextmanager
def _training(run: Run, progress: ShowProgress, total: int, to_go_on: str) -> Iterator[None]:
    """An interrupt and an error in training, as a message and an exit code."""
    kept = run.checkpoint
    try:
        yield
    except KeyboardInterrupt:
        progress.close()
        messages = console.messages()
        if not kept.epochs:
            messages.print("\nInterrupted before the first epoch was complete: nothing is kept.")
        else:
            messages.print(
                f"\nInterrupted after {kept.epochs} of {total} epochs, which are kept in {kept.folder}. To go on:\n\n"
                f"  {to_go_on}\n"
            )
        raise typer.Exit(console.INTERRUPTED) from None
    except Exception as error:
        progress.close()
        began = progress.epoch is not None
        if began and kept.epochs:
            console.tell(
                "note", f"{kept.epochs} of {total} epochs are kept in {kept.folder}; --resume goes on from there"
            )
        raise console.stop(error, console.FAILED if began else console.BAD_INPUT) from None


def _train(settings: Settings, run: Run, progress: ShowProgress) -> None:
    train = run.data.batches(settings.batch_size, settings.seed)
    validation = run.data.validation_batches(settings.batch_size)
    seeds = difflr.data.EpochSeeds(settings.seed, train)
    logger = [difflr.GroupLogger()] if settings.report is not None else []
    difflr.fine_tune(
        run.model,
        train,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        freeze_epochs=run.freeze_epochs,
        plan=run.plan,
        callbacks=[seeds, *logger, progress, run.checkpoint],
        initial_epoch=run.checkpoint.epochs,
        validation_data=validation,
        verbose=0,
        **run.compiling,
    )


def _write(settings: Settings, run: Run) -> None:
    """Writes the model as stock Keras: it loads without difflr, and is compiled for evaluation only; and the report."""
    if settings.report is not None:
        _report(settings.report, settings, run)
    if run.compiling:  # Keras loads no optimizer that has slots and was never built: SGD has none
        run.whole.compile(keras.optimizers.SGD(), loss=run.compiling["loss"], metrics=run.compiling["metrics"])
    else:
        run.whole.compiled = False
    with whole_file(settings.output) as unfinished:
        run.whole.save(unfinished)


def _report(page: Path, settings: Settings, run: Run) -> None:
    told = {name: str(value) for name, value in dataclasses.asdict(settings).items() if value not in (None, ())}
    told |= {
        "classes": ", ".join(run.data.class_names),
        "data": run.data.described,
        "skipped": str(len(run.data.skipped)),
    }
    first = [difflr.Phase(trainable="kind:head", epochs=run.freeze_epochs)] if run.freeze_epochs else []
    difflr.write_report(
        page,
        run.model,
        _columns(run.checkpoint.history),
        phases=difflr.Phases([*first, difflr.Phase(trainable="*")]),
        title=f"{settings.model.stem} on {settings.data.name}",
        settings=told,
    )


def _columns(history: list[dict[str, float]]) -> dict[str, list[float]]:
    return {name: [each[name] for each in history] for name in (history[0] if history else {})}


def as_data(settings: Settings, run: Run, seconds: float) -> dict[str, Any]:
    """The result as plain data, for `--json`."""
    return {
        "difflr": difflr.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "model": str(settings.model),
        "data": str(settings.data),
        "classes": list(run.data.class_names),
        "num_train": run.data.num_train,
        "num_validation": run.data.num_validation,
        "skipped": [list(each) for each in run.data.skipped],
        "learning_rate": settings.learning_rate,
        "freeze_epochs": run.freeze_epochs,
        "epochs": settings.epochs,
        "plan": plan_as_data(run.plan),
        "history": _columns(run.checkpoint.history),
        "output": str(settings.output),
        "report": None if settings.report is None else str(settings.report),
        "seconds": round(seconds, 1),
    }


def _conclude(out: Console, settings: Settings, result: dict[str, Any]) -> None:
    last = {name: values[-1] for name, values in result["history"].items()}
    if "val_accuracy" in last:
        right = round(last["val_accuracy"] * result["num_validation"])
        out.print(
            f"\nValidation accuracy: {100 * last['val_accuracy']:.1f} % ({right} of {result['num_validation']} right)."
        )
    written = [str(path) for path in (settings.output, settings.report) if path is not None]
    out.print(f"Written: {', '.join(written)}")
