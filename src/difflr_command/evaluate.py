"""`difflr evaluate`: its options. What it does is in `difflr_command.evaluating`."""

import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.common import Backend, Traceback
from difflr_command.use_options import (
    BatchSize,
    Json,
    LabelColumn,
    ScaleOfPictures,
    SizeOfPictures,
    TextColumn,
    can_report,
    pixels,
)


def evaluate(
    model: Annotated[
        pathlib.Path, typer.Argument(metavar="MODEL", help="What `difflr fine-tune` wrote, or another .keras file.")
    ],
    data: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DATA",
            help="Data with the answers, as for `difflr fine-tune`: a folder with a folder of pictures for each class (or "
            "with one of these in test/), a .csv or .tsv, or an .npz with x and y.",
        ),
    ],
    report: Annotated[
        pathlib.Path | None,
        typer.Option(help="A page with all of it, the worst mistakes first, such as report.html.", show_default=False),
    ] = None,
    pictures: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the confusion matrix, the calibration and the worst mistakes here, as PNG files.",
            show_default=False,
        ),
    ] = None,
    batch_size: BatchSize = 32,
    scale: ScaleOfPictures = None,
    size: SizeOfPictures = None,
    text_column: TextColumn = "text",
    label_column: LabelColumn = "label",
    json: Json = False,
    backend: Backend = "",
    traceback: Traceback = False,
) -> None:
    """Measure what a model gets right and wrong on data with the answers."""
    with console.bad_input():
        if report is not None:
            can_report("--report")
            console.writable(report, "report")
        if pictures is not None:
            can_report("--pictures")
            console.writable_folder(pictures)
        if not data.exists():
            raise ValueError(f"There is no data at {data}.")
        shape = pixels(size)
        import_keras()
        from difflr_command.evaluating import Asked, evaluate_files

        scaled = None if scale is None else str(scale)
        asked = Asked(model, data, report, pictures, batch_size, scaled, shape, text_column, label_column)
    evaluate_files(asked, as_json=json)
