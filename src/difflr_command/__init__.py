"""The command `difflr`.

It stands beside the package `difflr`, not in it, because importing anything of that imports Keras, which takes seconds and
reads its backend once. Each command has a file; what it needs of `difflr` it imports when it runs, so that `--help`
and completion are quick.
"""

import codecs
import io
import os
import signal
import sys

# What a terminal without them shows instead: cp1252 on Windows, ASCII where no language is set.
PLAIN = {"─": "-", "━": "-", "│": "|", "└": "`", "→": "->", "…": "...", "×": "x", "²": "2", "–": "-", "−": "-"}


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    shown = "".join(
        PLAIN.get(character, character.encode("ascii", "backslashreplace").decode())
        for character in error.object[error.start : error.end]
    )
    return shown, error.end


def main() -> None:
    """Runs the command line."""
    codecs.register_error("difflr", _plain)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters of a class name
            stream.reconfigure(errors="difflr")
    for name in ("SIGTERM", "SIGHUP"):  # a scheduler's end, a closed terminal: like Ctrl-C
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        from difflr_command.app import app
    except ImportError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit('The command line needs typer and rich: pip install "difflr[cli]"')
    except KeyboardInterrupt:
        sys.exit(130)
    app(prog_name="difflr")
