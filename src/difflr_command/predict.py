"""`difflr predict`: its options. What it does is in `difflr_command.predicting`."""

import pathlib
import sys
from typing import Annotated

import typer

from difflr_command import console, data_options
from difflr_command.backend import import_keras
from difflr_command.claim import claim

EPILOG = (
    "Exit codes: 0 done; 1 something could not be read (the others are predicted), or the run failed; 2 bad input, nothing "
    "was begun; 130 interrupted."
)


def predict(
    model: data_options.TrainedModel,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILES]...",
            help="Pictures, folders of them, or a table (.csv, .tsv, .jsonl or .parquet) of their paths; for texts a table, "
            "or a .txt with a text in each line; or an .npz with x. - or nothing: read from a pipe, a name of a picture, or "
            "a text, in each line.",
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", "-k", min=1, help="How many classes of each, the most probable first.")
    ] = 1,
    csv: Annotated[bool, typer.Option("--csv", help="Print a table for programs.")] = False,
    json: data_options.Json = False,
    output: Annotated[
        pathlib.Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Write it here instead, whole or not at all: CSV or JSON, by its name if not by the options.",
        ),
    ] = None,
    batch_size: data_options.BatchToPredict = 32,
    scale: data_options.ScaleOfPictures = None,
    size: data_options.SizeOfPictures = None,
    text_column: data_options.TextColumn = None,
    file_column: data_options.FileColumn = None,
) -> None:
    """Predict with a model: pictures, texts or arrays, in batches."""
    with console.bad_input():
        if csv and json:
            raise ValueError("--csv and --json are two forms: give one of them.")
        if output is not None:
            claim(output, "output")
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
