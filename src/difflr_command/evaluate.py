"""`difflr evaluate`: its options. What it does is in `difflr_command.evaluating`."""

import dataclasses
import pathlib
from typing import Annotated

import typer

from difflr_command import console, data_options
from difflr_command.backend import import_keras
from difflr_command.claim import claim, claim_folder


@dataclasses.dataclass(frozen=True)
class EvaluateOptions:
    """The arguments and options of `difflr evaluate`."""

    model: data_options.TrainedModel
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DATA",
            help="Data with the answers, as for `difflr fine-tune`: a folder with a folder of pictures for each class (or "
            "with one of these in test/), a table (.csv, .tsv, .jsonl or .parquet), or an .npz with x and y.",
        ),
    ]
    report: Annotated[
        pathlib.Path | None, typer.Option(help="A page with all of it, the worst mistakes first, such as report.html.")
    ] = None
    pictures: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the confusion matrix, the calibration and the worst mistakes here, as PNG files.",
        ),
    ] = None
    batch_size: data_options.BatchToPredict = 32
    scale: data_options.ScaleOfPictures = None
    size: data_options.SizeOfPictures = None
    text_column: data_options.TextColumn = None
    file_column: data_options.FileColumn = None
    label_column: data_options.LabelColumn = "label"
    json: data_options.Json = False


def evaluate(options: EvaluateOptions) -> None:
    """Measure what a model gets right and wrong on data with the answers."""
    with console.bad_input():
        if options.report is not None:
            data_options.can_report("--report")
            claim(options.report, "report")
        if options.pictures is not None:
            data_options.can_report("--pictures")
            claim_folder(options.pictures)
        if not options.data.exists():
            raise ValueError(f"There is no data at {options.data}.")
        import_keras()
        from difflr_command.evaluating import evaluate_files
    evaluate_files(options)
