"""The commands, and what they have in common: backend, version, tracebacks, exit codes."""

from collections.abc import Callable
from typing import Annotated

import typer

from difflr_command import backend as backends
from difflr_command import (
    console,
    demo,
    evaluate,
    export,
    fine_tune,
    import_settings,
    models_list,
    plan,
    predict,
    suggest,
    summary,
)
from difflr_command.common import Backend, Traceback, with_common_options
from difflr_command.help import Command, Group

EXIT_CODES = "Exit codes: 0 done; 1 the run failed; 2 bad input, nothing was written; 130 interrupted."

app = typer.Typer(
    name="difflr",
    cls=Group,
    rich_markup_mode=None,
    help="Fine-tune Keras 3 models with a learning rate for each layer.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata  # slow

        typer.echo(f"difflr {importlib.metadata.version('difflr')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    backend: Backend = "",
    traceback: Traceback = False,
) -> None:
    """Fine-tune Keras 3 models with a learning rate for each layer."""
    backends.asked, console.show_traceback = backend, traceback


def _add(command: Callable[..., None], epilog: str | None = None) -> None:
    app.command(cls=Command, epilog=epilog)(with_common_options(command))


_add(summary.summary)
_add(plan.plan)
_add(fine_tune.fine_tune, fine_tune.EPILOG)
_add(suggest.suggest)
_add(models_list.models)
_add(evaluate.evaluate)
_add(predict.predict, predict.EPILOG)
_add(export.export)
app.add_typer(import_settings.app)
_add(demo.demo)
