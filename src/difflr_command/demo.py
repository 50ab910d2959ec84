"""`difflr demo`."""

import pathlib
from typing import Annotated

import typer

from difflr_command import console
from difflr_command.backend import import_keras
from difflr_command.claim import claim_folder


def demo(
    seeds: Annotated[int, typer.Option(min=1, help="The number of runs per method, each with another seed.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs per run.")] = 10,
    output: Annotated[pathlib.Path, typer.Option(help="The folder for the plot and the numbers.")] = pathlib.Path(
        "demo-output"
    ),
    export: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Instead of comparing, write the network (squeezenet.keras) and the digits into this folder."
        ),
    ] = None,
) -> None:
    """Compare one rate, the head only, and rates layer by layer, on a pretrained network."""
    with console.bad_input():
        claim_folder(output if export is None else export)
        import_keras()
    if export is not None:
        with console.bad_input():
            from difflr.demo.export import export as write

            write(export)
        console.output().print(
            f"Written: {export / 'squeezenet.keras'} (SqueezeNet 1.1 with ImageNet weights, without a head) and "
            f"{export / 'digits'} (images, a folder for each class)."
        )
        return
    try:
        from difflr import keras_private
        from difflr.demo.run_demo import run_demo
    except ImportError as error:
        raise typer.BadParameter(f'The demo needs its extra: pip install "difflr[demo]" ({error})') from None
    keras_private.set_random_seed(0)
    with console.running("nothing is compared"):
        run_demo(seeds=seeds, epochs=epochs, output=output)
