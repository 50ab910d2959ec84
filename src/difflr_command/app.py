"""The commands, and what they have in common: backend, version, tracebacks, exit codes."""

import importlib.metadata
from typing import Annotated

import typer

from difflr_command import console, demo, fine_tune, plan, summary
from difflr_command.backend import BACKENDS, choose

EXIT_CODES = "Exit codes: 0 done; 1 the run failed; 2 bad input, nothing was begun; 130 interrupted."

app = typer.Typer(
    name="difflr",
    help="Differential learning rates for Keras 3: every layer trains at its own rate.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"difflr {importlib.metadata.version('difflr')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    backend: Annotated[
        str,
        typer.Option(
            help="jax, tensorflow or torch. By default what KERAS_BACKEND says, else jax, else what is installed.",
            show_default=False,
            autocompletion=lambda: list(BACKENDS),
        ),
    ] = "",
    traceback: Annotated[
        bool, typer.Option("--traceback", help="With an error, show where in Python it arose.")
    ] = False,
) -> None:
    """Differential learning rates for Keras 3: every layer trains at its own rate."""
    console.show_traceback = traceback
    with console.bad_input():
        choose(backend)


app.command(name="summary")(summary.summary)
app.command(name="plan")(plan.plan)
app.command(name="fine-tune", epilog=fine_tune.EPILOG)(fine_tune.fine_tune)
app.command(name="demo")(demo.demo)
