"""How the commands speak: results on stdout, all else on stderr, an error in one line, and an exit code."""

import contextlib
import errno
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

# What the library's messages say to who writes Python, and what to who writes a command.
SPOKEN = (
    (r"print\(difflr\.Plan\(model\)\) shows", "`difflr summary` shows"),
    (r"`head=model\.get_layer\(\.\.\.\)`", "--recipe layerwise-decay:0.75,head=LAYER"),
    (r"give `head=None`", "write head=none there"),
    (r", such as `keras\.layers\.Dense\(num_classes\)`", ": --new-head"),
    (r"`difflr\.Rule\(\.\.\., frozen=False\)` or `difflr\.TRAINABLE` as well", "--rule TARGET=trainable after it"),
    (r"Make a new plan for the changed model, difflr\.Plan\(model, rules\)\..*", "`difflr plan` makes a new one."),
    (r"`?difflr\.FROZEN`?", "'frozen'"),
    (r"`multiplier of ('.*?')`", r"The value of --rule \1"),
    (
        r"`(features|scale|batch_size|learning_rate|text_column|file_column|label_column|targets)`",
        lambda name: f"--{name[1].replace('_', '-')}",
    ),
    (r"`num_classes`", "--classes"),
)

# What helps where the system says no.
FIXES = {
    errno.ENOSPC: " Make room on the disk, or name a place on another.",
    errno.EDQUOT: " Make room on the disk, or name a place on another.",
    errno.EFBIG: " Raise the limit on the size of files (ulimit -f).",
    errno.ENOENT: " Check the path, and whether its folder was removed.",
    errno.EACCES: " Change its permissions, or name another place.",
    errno.EPERM: " Change its permissions, or name another place.",
    errno.EROFS: " Name a place that can be written to.",
}

# Whether an error shows its traceback: the option --traceback.
show_traceback = False


def output() -> "Console":
    """For results."""
    return _console(stderr=False)


def messages() -> "Console":
    """For everything else."""
    return _console(stderr=True)


def _console(stderr: bool) -> "Console":
    from rich.console import Console  # slow

    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)


def tell(kind: str, text: object) -> None:
    """Writes `difflr: kind: text` in one line to stderr."""
    style = {"error": "bold red", "warning": "yellow"}.get(kind, "bold")
    words = " ".join(str(text).split())
    for pattern, spoken in SPOKEN:
        words = re.sub(pattern, spoken, words)
    console = messages()
    console.print(f"difflr: {kind}: ", style=style, end="")
    console.print(words)


def stop(error: BaseException, code: int) -> typer.Exit:
    """Prints an error, and returns the exception to raise."""
    if show_traceback:
        import traceback

        traceback.print_exception(error)
    name = "" if code == BAD_INPUT else f"{type(error).__name__}: "
    tell("error", f"{name}{_said(error)}")
    return typer.Exit(code)


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f": {error.filename}" if error.filename else ""
        return f"{error.strerror}{place}.{FIXES.get(error.errno or 0, '')}"
    return str(error) or type(error).__name__


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Whatever goes wrong in the block is the fault of what was given: one line, exit code 2; warnings a line each."""
    with running("nothing was begun", BAD_INPUT), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if warning.category is UserWarning and "difflr" in warning.filename:
            tell("warning", warning.message)


def interrupted(kept: str) -> typer.Exit:
    """Prints a message about Ctrl-C, and returns the exception to raise.

    Args:
        kept: What there is now.
    """
    messages().print(f"\nInterrupted: {kept}.")
    return typer.Exit(INTERRUPTED)


@contextlib.contextmanager
def running(kept: str, code: int = FAILED) -> Iterator[None]:
    """What goes wrong in the block is a failure of the run: one line, exit code 1; Ctrl-C is exit code 130.

    Args:
        kept: What there is after Ctrl-C.
        code: The exit code after an error.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        raise interrupted(kept) from None
    except BrokenPipeError:  # who read it wants no more, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except Exception as error:
        raise stop(error, code) from None


@contextlib.contextmanager
def quiet(as_json: bool = True) -> Iterator["Console"]:
    """Where results for people go; with `as_json` stderr, and so does all that libraries print: stdout is for one document.

    Args:
        as_json: Whether a JSON document is printed at the end.
    """
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield messages() if as_json else output()


def print_json(result: object) -> None:
    """Prints the document of `--json`."""
    typer.echo(json.dumps(result, indent=1, ensure_ascii=False))
