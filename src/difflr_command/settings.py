"""The options of `difflr fine-tune`, `suggest` and `evaluate`, and the checks that need neither Keras nor the data."""

import dataclasses
import enum
import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from difflr_command import data_options, known_models
from difflr_command.claim import claim
from difflr_command.common import ModelArgument
from difflr_command.data_options import DATA, RUN
from difflr_command.plan_options import PlanFile, Recipes, Rules
from difflr_command.trackers import trackers_in

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FILES = "What is written"
TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
FORMS = {**dict.fromkeys(TABLES, "table"), ".npz": "arrays"}
HOW_IT_RUNS = ("resume", "json")  # options that say nothing about the result


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


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """The arguments and options that `difflr fine-tune` and `difflr suggest` share."""

    model: ModelArgument
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="A folder with one folder of images per class, or with train/ and val/ that have these. Or a .csv, .tsv, "
            ".jsonl or .parquet file with a label, and a text or the path of an image, in each row. Or an .npz file with "
            "x and y; x_val and y_val are optional.",
        ),
    ]
    plan: PlanFile = None
    rule: Rules = None
    recipe: Recipes = None
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The maximum number of epochs that train everything. By default 3 to 20, by the steps per epoch.",
            rich_help_panel=RUN,
        ),
    ] = None
    batch_size: data_options.BatchSize = 32
    seed: data_options.Seed = 0
    new_head: data_options.NewHead = False
    features: data_options.Features = None
    scale: data_options.ScaleOfImages = None
    size: data_options.SizeOfImages = None
    text_column: data_options.TextColumn = None
    file_column: data_options.FileColumn = None
    label_column: data_options.LabelColumn = "label"
    targets: data_options.KindOfTargets = None
    json: data_options.Json = False


@dataclasses.dataclass(frozen=True)
class Settings(RunOptions):
    """The arguments and options of `difflr fine-tune`."""

    freeze_epochs: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Earlier epochs that train only the head. By default 1, or 0 if the plan trains nothing else.",
            rich_help_panel=RUN,
        ),
    ] = None
    learning_rate: Annotated[
        str | None,
        typer.Option(
            metavar="RATE or auto",
            help="The peak rate of the head while it trains alone; later it peaks at half of that. By default 2 / the "
            "number of input features of the head, limited to 0.001 ... 0.03; auto: the rate and plan that `difflr "
            "suggest` measures.",
            rich_help_panel=RUN,
        ),
    ] = None
    accumulate: Annotated[
        int,
        typer.Option(
            min=1,
            help="Batches per update, for a batch that does not fit into memory.",
            rich_help_panel=RUN,
        ),
    ] = 1
    patience: Annotated[
        int,
        typer.Option(
            min=0,
            help="Stop after this many epochs without improvement on the validation data; 0: never. The weights of the "
            "best epoch are kept.",
            rich_help_panel=RUN,
        ),
    ] = 5
    no_class_weights: Annotated[
        bool,
        typer.Option(
            "--no-class-weights",
            help="Weight all examples equally. By default, classes weigh the same if one is twice as frequent as another.",
            rich_help_panel=RUN,
        ),
    ] = False
    augment: Annotated[
        str | None,
        typer.Option(
            metavar="CHANGES",
            help="Random changes of training images: any of flip,rotate,zoom,shift,light. By default all but shift; no "
            "flip if the classes are letters, digits, or left and right.",
            rich_help_panel=RUN,
        ),
    ] = None
    no_augment: Annotated[
        bool, typer.Option("--no-augment", help="Train on unchanged images.", rich_help_panel=RUN)
    ] = False
    norm: Annotated[
        Norm,
        typer.Option(
            help="Whether pretrained BatchNormalization trains: train, freeze, or auto (only with enough steps to learn "
            "new statistics).",
            rich_help_panel=RUN,
        ),
    ] = Norm.AUTO
    precision: Annotated[
        Precision,
        typer.Option(
            help="The data type of computations: float32, bfloat16, or auto (bfloat16 on a GPU that supports it).",
            rich_help_panel=RUN,
        ),
    ] = Precision.AUTO
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted run.", rich_help_panel=RUN)] = False
    validation: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Validation data, in the same form as DATA.", rich_help_panel=DATA),
    ] = None
    validation_split: Annotated[
        float,
        typer.Option(
            min=0, max=0.9, help="Without --validation: the share of each class to validate on.", rich_help_panel=DATA
        ),
    ] = 0.2
    output: Annotated[Path, typer.Option("--output", "-o", help="The file for the model.", rich_help_panel=FILES)] = (
        Path("tuned.keras")
    )
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report, such as report.html.", rich_help_panel=FILES)
    ] = None
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="REPORT",
            help="With --report: an earlier report to compare with. Can be repeated.",
            rich_help_panel=FILES,
        ),
    ] = None
    log: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Log every epoch with tensorboard, mlflow, wandb, or several, separated by commas.",
            rich_help_panel=FILES,
        ),
    ] = None

    @property
    def form(self) -> str:
        """What the data is: `"images"`, a folder of them; `"table"`; or `"arrays"`."""
        return form_of(self.data)

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns with the labels."""
        return data_options.columns_in(self.label_column)

    @property
    def is_named(self) -> bool:
        """Whether the model is a network of a name, which has no head and scales its images itself."""
        return known_models.known(self.model) is not None or known_models.is_preset(self.model)

    @property
    def with_new_head(self) -> bool:
        """Whether the model gets a new head: if that is asked for, and always if it is a network of a name."""
        return self.new_head or self.is_named

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width that were asked for."""
        return data_options.pixels(self.size)

    @property
    def rate(self) -> float | None:
        """The learning rate that was asked for; `None` for the default and for `auto`.

        Raises:
            ValueError: If it is no number above 0.
        """
        if self.learning_rate in (None, "auto"):
            return None
        try:
            rate = float(str(self.learning_rate))
        except ValueError:
            rate = math.nan
        if not 0 < rate < math.inf:
            raise ValueError(f"--learning-rate must be above 0, or auto. Received: {self.learning_rate}.")
        return rate

    def claim_outputs(self) -> None:
        """Claims the files that the run writes.

        Raises:
            ValueError: If that cannot be.
        """
        if self.output.suffix != ".keras":
            raise ValueError(f"The tuned model is a .keras file. Received: --output {self.output}.")
        if self.report is not None and os.path.realpath(self.report) == os.path.realpath(self.output):
            raise ValueError(
                f"--output and --report are the same file: {self.output}. Name another place for one of them."
            )
        claim(self.output, "tuned model", (self.plan,))
        if self.report is not None:
            claim(self.report, "report", (self.model, self.data, self.validation, self.plan))

    def check(self) -> None:
        """Checks what can be checked without the model and the data.

        Raises:
            ValueError: If something cannot be.
        """
        _ = self.rate, self.pixels
        if self.validation is not None and "validation_split" in changed_options(self):
            raise ValueError(
                "--validation is the validation data, and --validation-split takes it from DATA: leave out one."
            )
        if self.augment is not None and self.no_augment:
            raise ValueError(
                "--augment says how images are changed, and --no-augment that they are not: leave out one."
            )
        if self.features and not self.with_new_head:
            raise ValueError("--features says where a new head begins: give --new-head too.")
        trackers_in(self.log)
        if self.report is not None:
            data_options.can_report("--report")
        elif self.compare:
            raise ValueError("--compare is about the report: give --report too.")
        for file in self.compare or ():
            if not file.is_file():
                raise ValueError(f"There is no report {file} to compare with.")
        known_models.check_model(self.model)
        if self.plan is not None and not self.plan.is_file():
            raise ValueError(f"There is no plan {self.plan}.")
        self._check_data()

    def _check_data(self) -> None:
        for path, what in ((self.data, "data"), (self.validation, "validation data")):
            if path is not None and not path.exists():
                raise ValueError(f"There is no {what} at {path}.")
        if self.validation is not None and form_of(self.validation) != self.form:
            raise ValueError(
                f"--validation must be of the form of the data. Received: {self.data} and {self.validation}."
            )
        only = {
            ("scale", "size", "augment", "no_augment"): ("images", ("images", "table")),
            ("text_column", "file_column", "label_column"): ("tables", ("table",)),
            ("targets",): ("tables and .npz files", ("table", "arrays")),
        }
        changed = changed_options(self)
        for names, (owner, forms) in only.items():
            for name in names:
                if self.form not in forms and name in changed:
                    raise ValueError(f"{option(name)} is for {owner}; {self.data} is none.")


@dataclasses.dataclass(frozen=True)
class SuggestOptions(RunOptions):
    """The arguments and options of `difflr suggest`."""

    budget: Annotated[
        float | None,
        typer.Option(
            help="The cost of the search, as a share of the later run. By default half of it, but at least 400 steps; from "
            "2,000 steps on, a tenth.",
            rich_help_panel=RUN,
        ),
    ] = None
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the choice here, such as choice.json.")
    ] = None

    def settings(self) -> Settings:
        """The settings of the run that is to come."""
        return Settings(**{name: value for name, value in vars(self).items() if name not in ("budget", "output")})


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """The arguments and options of `difflr evaluate`."""

    model: data_options.TrainedModel
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            help="Labeled data, as for `difflr fine-tune`: a folder with one folder of images per class (or with test/ that "
            "has these), a table (.csv, .tsv, .jsonl or .parquet), or an .npz file with x and y.",
        ),
    ]
    report: Annotated[
        Path | None, typer.Option(help="Write an HTML report, the worst mistakes first, such as report.html.")
    ] = None
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the confusion matrix, the calibration and the worst mistakes to this folder, as PNG files.",
        ),
    ] = None
    batch_size: data_options.BatchToPredict = 32
    scale: data_options.ScaleOfImages = None
    size: data_options.SizeOfImages = None
    text_column: data_options.TextColumn = None
    file_column: data_options.FileColumn = None
    label_column: data_options.LabelColumn = "label"
    json: data_options.Json = False


def form_of(path: Path) -> str:
    """What the data at `path` is: `"images"`, `"table"` or `"arrays"`.

    Raises:
        ValueError: If it is none of these.
    """
    if path.is_dir():
        return "images"
    if path.suffix.lower() not in FORMS:
        raise ValueError(
            f"Data is a folder with a folder of images for each class; a table ({', '.join(TABLES)}) of texts, or of "
            f"paths of images, and labels; or an .npz with x and y. Received: {path}."
        )
    return FORMS[path.suffix.lower()]


def option(name: str) -> str:
    """The option for a field."""
    return "--" + name.replace("_", "-")


def changed_options(asked: "DataclassInstance") -> dict[str, Any]:
    """The options that are not left at their defaults: field -> value.

    Args:
        asked: All options.
    """
    values = {field.name: getattr(asked, field.name) for field in dataclasses.fields(asked)}
    defaults = {field.name: field.default for field in dataclasses.fields(asked)}
    return {name: value for name, value in values.items() if name not in HOW_IT_RUNS and value != defaults[name]}


def command(name: str, asked: "DataclassInstance", backend: str) -> str:
    """The command line of these options.

    Args:
        name: The command.
        asked: Its options; the first two are its arguments.
        backend: On which backend.
    """
    first, second, *options = changed_options(asked).items()
    words = ["difflr", "--backend", backend, name, str(first[1]), str(second[1])]
    for field, value in options:
        for one in value if isinstance(value, list) else [value]:
            words += [option(field)] if isinstance(one, bool) else [option(field), str(one)]
    return shlex.join(words)
