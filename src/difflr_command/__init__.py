"""The command `difflr`.

It stands beside the package `difflr`, not in it, because importing anything of that imports Keras, which takes seconds and
reads its backend once. Each command has a file; what it needs of `difflr` it imports when it runs, so that `--help`
and completion are quick.
"""

import sys


def main() -> None:
    """Runs the command line."""
    try:
        from difflr_command.app import app
    except ImportError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit('The command line needs typer and rich: pip install "difflr[cli]"')
    app(prog_name="difflr")
