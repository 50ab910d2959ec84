"""How the commands speak: results on stdout, all else on stderr, an error in one line, and an exit code."""

import contextlib
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
    (r"`?difflr\.FROZEN`?", "'frozen'"),
    (r"`multiplier of ('.*?')`", r"The value of --rule \1"),
    (
        r"`(features|scale|batch_size|learning_rate|text_column|file_column|label_column|targets)`",
        lambda name: f"--{name[1].replace('_', '-')}",
    ),
    (r"`num_classes`", "--classes"),
)

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
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__


@contextlib.contextmanager
def bad_input() -> Iterator[None]:
    """Whatever goes wrong in the block is the fault of what was given: one line, exit code 2; warnings a line each."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        raise interrupted("nothing was begun") from None
    except Exception as error:
        raise stop(error, BAD_INPUT) from None
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
def running(kept: str) -> Iterator[None]:
    """What goes wrong in the block is a failure of the run: one line, exit code 1; Ctrl-C is exit code 130.

    Args:
        kept: What there is after Ctrl-C.
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
        raise stop(error, FAILED) from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Lets nothing that libraries print reach stdout, which is for one JSON document."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def writable(path: os.PathLike[str] | str, what: str) -> None:
    """Checks that a file can be written, before anything costly is done.

    Raises:
        ValueError: If it cannot.
    """
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise ValueError(f"The {what} {path} cannot be written: there is no folder {folder}. Make it first.")
    if os.path.isdir(path):
        raise ValueError(f"The {what} {path} cannot be written: it is a folder. Name a file.")
    if not os.access(folder, os.W_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        raise ValueError(f"The {what} {path} cannot be written: no permission. Name another place.")


def writable_folder(path: os.PathLike[str] | str) -> None:
    """Checks that files can be written into a folder, which is made if it is not there.

    Raises:
        ValueError: If they cannot.
    """
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"{path} is a file. Name a folder.")
    above = path if os.path.isdir(path) else os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(above):
        raise ValueError(f"The folder {path} cannot be made: there is no folder {above}. Make it first.")
    if not os.access(above, os.W_OK):
        raise ValueError(f"Nothing can be written into {above}: no permission. Name another place.")


def new_folder(path: os.PathLike[str] | str) -> None:
    """Checks that a folder can be made that is not there yet.

    Raises:
        ValueError: If it cannot.
    """
    if os.path.lexists(path):
        raise ValueError(f"{path} is there already. Remove it, or name another place.")
    writable_folder(path)
