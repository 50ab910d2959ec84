"""`difflr fine-tune`: its options. What it does is in `difflr_command.tuning`."""

import enum
import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.common import Backend, ModelArgument, Traceback
from difflr_command.data_options import (
    DATA,
    RUN,
    BatchSize,
    Features,
    FileColumn,
    KindOfTargets,
    LabelColumn,
    NewHead,
    ScaleOfPictures,
    Seed,
    SizeOfPictures,
    TextColumn,
)
from difflr_command.plan_options import PlanFile, Recipes, Rules


class Norm(enum.StrEnum):
    """Whether BatchNormalization trains."""

    AUTO = "auto"
    TRAIN = "train"
    FREEZE = "freeze"


class Precision(enum.StrEnum):
    """In what layers compute."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


EPILOG = (
    "Ctrl-C keeps the last complete epoch and prints how to resume. "
    "Exit codes: 0 done; 1 the run failed; 2 bad input, nothing was written; 130 interrupted."
)
FILES = "What is written"


def fine_tune(
    model: ModelArgument,
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with one folder of images per class, or with train/ and val/ that have these. Or a .csv, .tsv, "
            ".jsonl or .parquet file with a label, and a text or the path of an image, in each row. Or an .npz file with "
            "x and y; x_val and y_val are optional.",
            show_default=False,
        ),
    ],
    plan: PlanFile = None,
    rule: Rules = None,
    recipe: Recipes = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The maximum number of epochs that train everything. By default 3 to 20, by the steps per epoch.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    freeze_epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Earlier epochs that train only the head. By default 1, or 0 if the plan trains nothing else.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE or auto",
            help="The peak rate of the head while it trains alone; later it peaks at half of that. By default 2 / the "
            "number of input features of the head, limited to 0.001 ... 0.03; auto: the rate and plan that `difflr "
            "suggest` measures.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    batch_size: BatchSize = 32,
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Batches per update, for a batch that does not fit into memory.",
            rich_help_panel=RUN,
        ),
    ] = 1,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after this many epochs without improvement on the validation data; 0: never. The weights of the "
            "best epoch are kept.",
            rich_help_panel=RUN,
        ),
    ] = 5,
    no_class_weights: Annotated[
        bool,
        typer.Option(
            "--no-class-weights",
            help="Weight all examples equally. By default, classes weigh the same if one is twice as frequent as another.",
            rich_help_panel=RUN,
        ),
    ] = False,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="CHANGES",
            help="Random changes of training images: any of flip,rotate,zoom,shift,light. By default all but shift; no "
            "flip if the classes are letters, digits, or left and right.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    no_augment: Annotated[
        bool, typer.Option("--no-augment", help="Train on unchanged images.", rich_help_panel=RUN)
    ] = False,
    norm: Annotated[
        Norm,
        typer.Option(
            help="Whether pretrained BatchNormalization trains: train, freeze, or auto (only with enough steps to learn "
            "new statistics).",
            rich_help_panel=RUN,
        ),
    ] = Norm.AUTO,
    precision: Annotated[
        Precision,
        typer.Option(
            help="The data type of computations: float32, bfloat16, or auto (bfloat16 on a GPU that supports it).",
            rich_help_panel=RUN,
        ),
    ] = Precision.AUTO,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.", rich_help_panel=RUN)] = False,
    new_head: NewHead = False,
    features: Features = None,
    scale: ScaleOfPictures = None,
    size: SizeOfPictures = None,
    text_column: TextColumn = None,
    file_column: FileColumn = None,
    label_column: LabelColumn = "label",
    targets: KindOfTargets = None,
    validation: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="DATA",
            help="Validation data, in the same form as DATA.",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    validation_split: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Without --validation: the share of each class to validate on.", rich_help_panel=DATA
        ),
    ] = 0.2,
    output: Annotated[
        pathlib.Path, typer.Option("--output", "-o", help="The file for the model.", rich_help_panel=FILES)
    ] = pathlib.Path("tuned.keras"),
    report: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write an HTML report, such as report.html.", show_default=False, rich_help_panel=FILES),
    ] = None,
    compare: Annotated[
        list[pathlib.Path] | None,
        typer.Option(
            metavar="REPORT",
            help="With --report: an earlier report to compare with. Can be repeated.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Log every epoch with tensorboard, mlflow, wandb, or several, separated by commas.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document on stdout, and everything else on stderr.", rich_help_panel=FILES
        ),
    ] = False,
    backend: Backend = "",
    traceback: Traceback = False,
) -> None:
    """Fine-tune a model on your data: the head first, then everything, lower layers more slowly.

    By default, each group of layers trains at 0.75 of the rate of the one above, down to a tenth. --rule changes some of
    these rates; --plan and --recipe replace them.
    """
    options = locals()
    from difflr_command.settings import Settings, from_options  # slow, and `--help` does without

    with console.bad_input():
        settings = from_options(Settings, {**options, "learning_rate": _rate(learning_rate)})
        settings.check()
        settings.claim_outputs()
        import_keras()
        from difflr_command.tuning import tune
    tune(settings, resume=resume, as_json=json)


def _rate(text: str | None) -> float | str | None:
    """A number, or `"auto"`.

    Raises:
        ValueError: If it is neither.
    """
    if text is None or text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--learning-rate is a number, or auto. Received: {text}.") from None
