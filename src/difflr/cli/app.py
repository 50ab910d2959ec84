"""The commands, each a thin layer over the library."""

import pathlib
from typing import Annotated

import typer

import difflr

app = typer.Typer(
    name="difflr",
    help="Differential learning rates for Keras 3: every layer trains at its own rate.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"difflr {difflr.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    backend: Annotated[
        str, typer.Option(help="jax, tensorflow or torch; also taken from KERAS_BACKEND.", show_default=False)
    ] = "",
) -> None:
    """Differential learning rates for Keras 3."""  # `backend` is read before Keras is imported: see difflr_command


@app.command()
def demo(
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each method is run with.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run; the same for every method.")] = 10,
    output: Annotated[pathlib.Path, typer.Option(help="Folder for the picture and the numbers.")] = pathlib.Path(
        "demo-output"
    ),
) -> None:
    """Fine-tune a pretrained network with one rate, head only, and layer by layer, and compare."""
    try:
        from difflr.demo import run_demo
    except ImportError as error:
        raise typer.BadParameter(f"The demo needs its extra: pip install 'difflr[demo]' ({error})") from None
    run_demo(seeds=seeds, epochs=epochs, output=output)
