"""`difflr evaluate`: its options. What it does is in `difflr_command.evaluating`."""

import dataclasses
import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.claim import claim, claim_folder
from difflr_command.data_options import (
    BatchToPredict,
    FileColumn,
    Json,
    LabelColumn,
    ScaleOfPictures,
    SizeOfPictures,
    TextColumn,
    TrainedModel,
    can_report,
)


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """The arguments and options of `difflr evaluate`."""

    model: TrainedModel
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DATA",
            help="Data with the answers, as for `difflr fine-tune`: a folder with a folder of pictures for each class (or "
            "with one of these in test/), a table (.csv, .tsv, .jsonl or .parquet), or an .npz with x and y.",
            show_default=False,
        ),
    ]
    report: Annotated[
        pathlib.Path | None,
        typer.Option(help="A page with all of it, the worst mistakes first, such as report.html.", show_default=False),
    ] = None
    pictures: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the confusion matrix, the calibration and the worst mistakes here, as PNG files.",
            show_default=False,
        ),
    ] = None
    batch_size: BatchToPredict = 32
    scale: ScaleOfPictures = None
    size: SizeOfPictures = None
    text_column: TextColumn = None
    file_column: FileColumn = None
    label_column: LabelColumn = "label"
    json: Json = False


def evaluate(options: EvaluateOptions) -> None:
    """Measure what a model gets right and wrong on data with the answers."""
    with console.bad_input():
        if options.report is not None:
            can_report("--report")
            claim(options.report, "report")
        if options.pictures is not None:
            can_report("--pictures")
            claim_folder(options.pictures)
        if not options.data.exists():
            raise ValueError(f"There is no data at {options.data}.")
        import_keras()
        from difflr_command.evaluating import evaluate_files
    evaluate_files(options)
