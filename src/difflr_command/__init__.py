"""The command `difflr`.

It stands beside the package `difflr`, not in it, because importing anything of that imports Keras, which takes seconds and
reads its backend once. Each command has a file; what it needs of `difflr` it imports when it runs, so that `--help`
and completion are quick.
"""

import codecs
import importlib
import io
import sys
import types

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


# What typer imports to show help and never uses there: half of the time that `--help` takes.
UNUSED = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


def _import_help() -> None:
    """Imports what shows help, without what it does not need; that can be imported as ever afterwards."""
    stand_ins = [name for name in UNUSED if name not in sys.modules]
    for name in stand_ins:
        module = types.ModuleType(name)
        setattr(module, UNUSED[name], type(UNUSED[name], (), {}))
        sys.modules[name] = module
    try:
        importlib.import_module("typer.rich_utils")
    finally:
        for name in stand_ins:
            del sys.modules[name]


def main() -> None:
    """Runs the command line."""
    codecs.register_error("difflr", _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack the letters of a class name
            stream.reconfigure(errors="difflr")
    try:
        _import_help()
        from difflr_command.app import app
    except ImportError as error:
        if error.name not in ("typer", "rich", "click"):
            raise
        sys.exit('The command line needs typer and rich: pip install "difflr[cli]"')
    app(prog_name="difflr")
