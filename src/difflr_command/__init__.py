"""The command `difflr`.

It stands beside the package `difflr`, not in it, because importing anything of that imports Keras, which takes seconds and
reads its backend once. Each command has a file; what it needs of `difflr` it imports when it runs, so that `--help`
and completion are quick.
"""

import io
import sys


def main() -> None:
    """Runs the command line."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters of a class name
            stream.reconfigure(errors="backslashreplace")
    try:
        from difflr_command.app import app
    except ImportError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit('The command line needs typer and rich: pip install "difflr[cli]"')
    app(prog_name="difflr")
