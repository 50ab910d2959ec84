"""`difflr export`: its options. What it does is in `difflr_command.exporting`."""

import enum
import pathlib
from typing import Annotated

import typer

from difflr_command import console, data_options
from difflr_command.backend import import_keras
from difflr_command.claim import claim, claim_folder


class Format(enum.StrEnum):
    """What a model is exported to."""

    ONNX = "onnx"
    SAVED_MODEL = "saved-model"
    LITERT = "litert"
    TORCH = "torch"
    OPENVINO = "openvino"


SUFFIXES = {".onnx": Format.ONNX, ".tflite": Format.LITERT, ".pt2": Format.TORCH, ".xml": Format.OPENVINO}


def export(
    model: data_options.TrainedModel,
    output: Annotated[
        pathlib.Path,
        typer.Option(
            "--output",
            "-o",
            help="The file, or the folder of a SavedModel. The format follows from its name: .onnx, .tflite (LiteRT), .pt2 "
            "(torch), .xml (OpenVINO); a name without one of these is a SavedModel.",
        ),
    ],
    format: Annotated[Format | None, typer.Option(help="The format, if not the one that the name implies.")] = None,
    scale: data_options.ScaleOfImages = None,
    size: data_options.SizeOfImages = None,
    json: data_options.Json = False,
) -> None:
    """Write a model as ONNX, SavedModel, LiteRT, torch or OpenVINO, if Keras can on the backend."""
    with console.bad_input():
        chosen = format or SUFFIXES.get(output.suffix.lower(), Format.SAVED_MODEL)
        if format is None and output.suffix and output.suffix.lower() not in SUFFIXES:
            raise ValueError(
                f"No format ends with {output.suffix}. Expected one of: {', '.join(SUFFIXES)}, or a name without an ending "
                f"for a SavedModel (--format saved-model takes any name). Received: --output {output}."
            )
        expected = [suffix for suffix, name in SUFFIXES.items() if name == chosen]
        if expected and output.suffix.lower() != expected[0]:
            raise ValueError(f"A file for {chosen} ends with {expected[0]}. Received: --output {output}.")
        if expected:
            claim(output, "export")
        else:
            claim_folder(output, new=True)
        import_keras()
        from difflr_command.exporting import check_can_export, export_model
        from difflr_command.network import Network

        check_can_export(str(chosen))
        network = Network(model, scale, data_options.pixels(size))
    export_model(network, output, str(chosen), as_json=json)
