"""The commands, and what they have in common: backend, version, tracebacks, exit codes."""

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
from difflr_command.common import Backend, Traceback
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


app.command(name="summary", cls=Command)(summary.summary)
app.command(name="plan", cls=Command)(plan.plan)
app.command(name="fine-tune", cls=Command, epilog=fine_tune.EPILOG)(fine_tune.fine_tune)
app.command(name="suggest", cls=Command)(suggest.suggest)
app.command(name="models", cls=Command)(models_list.models)
app.command(name="evaluate", cls=Command)(evaluate.evaluate)
app.command(name="predict", cls=Command, epilog=predict.EPILOG)(predict.predict)
app.command(name="export", cls=Command)(export.export)
app.add_typer(import_settings.app)
app.command(name="demo", cls=Command)(demo.demo)
