"""The options that every command has, before its name or after it."""

import dataclasses
import functools
import inspect
import pathlib
from collections.abc import Callable
from typing import Annotated, Any

import typer

from difflr_command import backend as backends
from difflr_command import console, known_models

Backend = Annotated[
    str,
    typer.Option(
        help="jax, tensorflow or torch. Default: KERAS_BACKEND, else jax, else the first installed.",
        autocompletion=lambda: list(backends.BACKENDS),
        rich_help_panel="Every command",
    ),
]
Traceback = Annotated[
    bool,
    typer.Option("--traceback", help="Show the Python traceback of an error.", rich_help_panel="Every command"),
]
ModelArgument = Annotated[
    pathlib.Path,
    typer.Argument(
        metavar="MODEL",
        help="A .keras file, or a pretrained network that `difflr models` lists, such as efficientnetv2-b0.",
        autocompletion=known_models.complete,
    ),
]


def with_common_options(function: Callable[..., None]) -> Callable[..., None]:
    """A command that takes what `function` does, and the options that every command has.

    Args:
        function: Its parameters are the options. If the only one is a dataclass, its fields are.
    """
    own = inspect.signature(function)
    options: Any = next(iter(own.parameters.values())).annotation
    of_dataclass = dataclasses.is_dataclass(options)
    own = inspect.signature(options) if of_dataclass else own

    @functools.wraps(function, assigned=("__name__", "__doc__"))
    def command(backend: Backend = "", traceback: Traceback = False, **given: Any) -> None:
        backends.asked = backend or backends.asked
        console.show_traceback = console.show_traceback or traceback
        if of_dataclass:
            function(options(**given))
        else:
            function(**given)

    *common, _ = inspect.signature(command, follow_wrapped=False).parameters.values()
    command.__signature__ = own.replace(parameters=[*own.parameters.values(), *common])  # type: ignore[attr-defined]
    return command
