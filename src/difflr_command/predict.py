"""`difflr predict`: its options. What it does is in `difflr_command.predicting`."""

import pathlib
import sys
from typing import Annotated

import typer

from difflr_command import console, data_options
from difflr_command.backend import import_keras
from difflr_command.claim import claim

EPILOG = (
    "Exit codes: 0 done; 1 an input could not be read (the others are predicted), or the run failed; 2 bad input, nothing "
    "was written; 130 interrupted."
)


def predict(
    model: data_options.TrainedModel,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILES]...",
            help="Images, folders of images, or a table (.csv, .tsv, .jsonl or .parquet) of their paths; for texts, a table "
            "or a .txt file with one text per line; or an .npz file with x. - or nothing reads lines from a pipe: image "
            "files or texts.",
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option("--top", "-k", min=1, help="The number of classes to print for each input, most probable first."),
    ] = 1,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    json: data_options.Json = False,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write to this file instead, completely or not at all: CSV or JSON, by --csv, --json or its name.",
        ),
    ] = None,
    batch_size: data_options.BatchToPredict = 32,
    scale: data_options.ScaleOfImages = None,
    size: data_options.SizeOfImages = None,
    text_column: data_options.TextColumn = None,
    file_column: data_options.FileColumn = None,
) -> None:
    """Predict classes or numbers for images, texts or arrays."""
    with console.bad_input():
        if csv and json:
            raise ValueError("--csv and --json are two forms: give one of them.")
        if output is not None:
            claim(output, "output", (model, *(files or ())))
            suffix = output.suffix.lower()
            if not csv and not json and suffix not in (".csv", ".json"):
                raise ValueError(f"--output is a .csv or a .json file, or give --csv or --json. Received: {output}.")
            csv, json = (csv, json) if csv or json else (suffix == ".csv", suffix == ".json")
        given = list(files or ["-"])
        if "-" in given and sys.stdin.isatty():
            raise ValueError("There is nothing to predict: name files, or pipe their names into it.")
        import_keras()
        from difflr_command.network import Network
        from difflr_command.predicting import predict_items
        from difflr_command.unlabeled import unlabeled

        network = Network(model, scale, data_options.pixels(size))
        items = unlabeled(network, given, text_column, file_column)
    form = "csv" if csv else "json" if json else "lines"
    predict_items(network, items, form, output, top, batch_size)
