"""`difflr evaluate`: its options. What it does is in `difflr_command.evaluating`."""

import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.claim import claim, claim_folder
from difflr_command.common import Backend, Traceback
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


def evaluate(
    model: TrainedModel,
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DATA",
            help="Labeled data, as for `difflr fine-tune`: a folder with one folder of images per class (or with test/ that "
            "has these), a table (.csv, .tsv, .jsonl or .parquet), or an .npz file with x and y.",
            show_default=False,
        ),
    ],
    report: Annotated[
        pathlib.Path | None,
        typer.Option(help="Write an HTML report, the worst mistakes first, such as report.html.", show_default=False),
    ] = None,
    pictures: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the confusion matrix, the calibration and the worst mistakes to this folder, as PNG files.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchToPredict = 32,
    scale: ScaleOfPictures = None,
    size: SizeOfPictures = None,
    text_column: TextColumn = None,
    file_column: FileColumn = None,
    label_column: LabelColumn = "label",
    json: Json = False,
    backend: Backend = "",
    traceback: Traceback = False,
) -> None:
    """Measure what a model gets right and wrong on labeled data."""
    options = locals()
    with console.bad_input():
        if report is not None:
            can_report("--report")
            claim(report, "report")
        if pictures is not None:
            can_report("--pictures")
            claim_folder(pictures)
        if not data.exists():
            raise ValueError(f"There is no data at {data}.")
        import_keras()
        from difflr_command.evaluating import Asked, evaluate_files
        from difflr_command.settings import from_options

        asked = from_options(Asked, options)
    evaluate_files(asked, as_json=json)
