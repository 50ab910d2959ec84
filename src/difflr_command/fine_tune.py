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
    "Ctrl-C keeps what was reached after the last complete epoch, and says how to resume. "
    "Exit codes: 0 done; 1 the run failed; 2 bad input, nothing was begun; 130 interrupted."
)
FILES = "What is written"


def fine_tune(
    model: ModelArgument,
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with a folder of pictures for each class, or with train/ and val/ of such. Or a .csv, .tsv, "
            ".jsonl or .parquet with a text, or the path of a picture, and a label in each row. Or an .npz with the "
            "arrays x and y, and optionally x_val and y_val.",
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
            help="Epochs in which everything trains, at most. By default 3 to 20, by the steps in one.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    freeze_epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs before these in which only the head trains. By default 1, or 0 if the plan trains nothing else.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    learning_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE or auto",
            help="The highest rate of the head while it trains alone. Afterwards it goes up to half of it. By default 2 / "
            "the number of input features of the head, limited to 0.001 ... 0.03; auto: what `difflr suggest` measures, "
            "with its plan.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    batch_size: BatchSize = 32,
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Batches whose gradients make one update, for a batch that does not fit into memory.",
            rich_help_panel=RUN,
        ),
    ] = 1,
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after so many epochs without a better one on the validation data; 0: never. The weights of the best "
            "epoch are kept.",
            rich_help_panel=RUN,
        ),
    ] = 5,
    no_class_weights: Annotated[
        bool,
        typer.Option(
            "--no-class-weights",
            help="Every example counts the same. By default every class does where one is twice as frequent as another.",
            rich_help_panel=RUN,
        ),
    ] = False,
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="CHANGES",
            help="How pictures are changed at random while training: of flip,rotate,zoom,shift,light. By default all but "
            "shift, and no flip where the classes are letters, digits or sides.",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    no_augment: Annotated[
        bool, typer.Option("--no-augment", help="Pictures are trained on as they are.", rich_help_panel=RUN)
    ] = False,
    norm: Annotated[
        Norm,
        typer.Option(
            help="Whether pretrained BatchNormalization trains: train, freeze, or auto: only with enough steps to learn "
            "new statistics.",
            rich_help_panel=RUN,
        ),
    ] = Norm.AUTO,
    precision: Annotated[
        Precision,
        typer.Option(
            help="In what layers compute: float32, bfloat16, or auto: bfloat16 on a GPU that has it.",
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
            help="Other data to validate on, of the same form.",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    validation_split: Annotated[
        float,
        typer.Option(min=0, max=0.9, help="Else: the share of each class to validate on.", rich_help_panel=DATA),
    ] = 0.2,
    output: Annotated[
        pathlib.Path, typer.Option("--output", "-o", help="The tuned model.", rich_help_panel=FILES)
    ] = pathlib.Path("tuned.keras"),
    report: Annotated[
        pathlib.Path | None,
        typer.Option(help="A page about the run, such as report.html.", show_default=False, rich_help_panel=FILES),
    ] = None,
    compare: Annotated[
        list[pathlib.Path] | None,
        typer.Option(
            metavar="REPORT",
            help="With --report: earlier reports to stand beside this run. Repeat it.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    log: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Log every epoch with tensorboard, mlflow, wandb, or several with commas between them.",
            show_default=False,
            rich_help_panel=FILES,
        ),
    ] = None,
    json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON document on stdout, and all else on stderr.", rich_help_panel=FILES
        ),
    ] = False,
    backend: Backend = "",
    traceback: Traceback = False,
) -> None:
    """Fine-tune a model on your data: the head first, then everything, lower layers more slowly.

    Without --plan and --recipe each group of layers trains at 0.75 of the rate of the one above, down to a tenth; --rule
    changes that for some.
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
