"""The options that every command has, before its name or after it."""

import pathlib
from typing import Annotated

import typer

from difflr_command import backend, console, known_models


def _backend(value: str) -> str:
    if value:
        backend.asked = value
    return value


def _traceback(value: bool) -> bool:
    console.show_traceback = console.show_traceback or value
    return value


Backend = Annotated[
    str,
    typer.Option(
        help="jax, tensorflow or torch. Default: KERAS_BACKEND, else jax, else the first installed.",
        show_default=False,
        autocompletion=lambda: list(backend.BACKENDS),
        callback=_backend,
        rich_help_panel="Every command",
    ),
]
Traceback = Annotated[
    bool,
    typer.Option(
        "--traceback",
        help="Show the Python traceback of an error.",
        callback=_traceback,
        rich_help_panel="Every command",
    ),
]
ModelArgument = Annotated[
    pathlib.Path,
    typer.Argument(
        metavar="MODEL",
        help="A .keras file, or a pretrained network that `difflr models` lists, such as efficientnetv2-b0.",
        show_default=False,
        autocompletion=known_models.complete,
    ),
]
