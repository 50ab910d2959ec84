"""`Group` and `Command`: help as plain text, quick to show and whole at any width, and wrong usage as an error in one line.

Typer's own help imports rich: more than half of the time that `--help` takes; and it cuts words in narrow terminals.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from difflr_command import console
from difflr_command.claim import claimed

MOST_WIDTH = 100
INDENT, TERMS = 2, 24  # columns: before a term, and for it where its text is beside it
NARROW = 72  # below, texts are under their terms
Entry = tuple[str, str]
KINDS = {"<int range>": "N", "<int>": "N", "<float range>": "X", "<float>": "X", "<path>": "PATH", "<str>": "NAME"}


def has_colors() -> bool:
    """Whether stdout is a terminal on which text may be bold."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def write_help(command: TyperCommand | TyperGroup, context: typer.Context) -> str:
    """The help of a command.

    Args:
        command: The command.
        context: How it is called.
    """
    width = min(MOST_WIDTH, shutil.get_terminal_size().columns)
    usage = f"Usage: {context.command_path} {' '.join(command.collect_usage_pieces(context))}"
    lines = _wrapped(usage, width)
    lines[0] = lines[0].replace("Usage:", _title("Usage:"), 1)
    for paragraph in (command.help or "").split("\n\n"):
        lines += ["", *_wrapped(paragraph, width, INDENT)]
    for title, entries in _sections(command, context).items():
        lines += ["", _title(f"{title}:")]
        for term, text in entries:
            lines += _entry(term, text, width)
    for paragraph in (command.epilog or "").split("\n\n"):
        lines += ["", *_wrapped(paragraph, width)] if paragraph else []
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    return typer.style(text, bold=True) if has_colors() else text


def _sections(command: TyperCommand | TyperGroup, context: typer.Context) -> dict[str, list[Entry]]:
    """Title -> what is listed below it: arguments, options, commands."""
    sections: dict[str, list[Entry]] = {"Arguments": [], "Options": []}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            usual = "Arguments" if parameter.param_type_name == "argument" else "Options"
            term, text = record
            for kind, shown in KINDS.items():
                term = term.replace(kind, shown)
            sections.setdefault(getattr(parameter, "rich_help_panel", None) or usual, []).append((term, text))
    for name, below in getattr(command, "commands", {}).items():
        sections.setdefault("Commands", []).append((name, (below.help or "").partition("\n")[0]))
    last = sections.pop("Every command", [])
    sections["Every command"] = [*last, *(sections["Options"].pop() for _ in range(bool(last)))]  # --help
    return {title: entries for title, entries in sections.items() if entries}


def _entry(term: str, text: str, width: int) -> Iterator[str]:
    beside = width >= NARROW
    begin = INDENT + TERMS if beside else 3 * INDENT
    lines = _wrapped(text, width, begin)
    term = " " * INDENT + term
    if beside and len(term) < begin and lines:
        yield term.ljust(begin) + lines.pop(0).lstrip()
    else:
        yield term
    yield from lines


def _wrapped(text: str, width: int, indent: int = 0) -> list[str]:
    before = " " * indent
    return textwrap.wrap(
        " ".join(text.split()),
        max(width, indent + NARROW // 3),
        initial_indent=before,
        subsequent_indent=before,
        break_long_words=False,
        break_on_hyphens=False,
    )


class Command(TyperCommand):
    """A command whose help is plain text."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help."""
        formatter.write(write_help(self, ctx))


class Group(TyperGroup):
    """A group of commands whose help is plain text, and whose errors are one line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help."""
        formatter.write(write_help(self, ctx))

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> None:  # type: ignore[override]
        """Runs a command and leaves the process with its exit code."""
        try:
            with claimed:
                code = self._show_help(sys.argv[1:] if args is None else args)
                if code is None:
                    code = super().main(args, **{**extra, "standalone_mode": False})
        except typer.Abort:
            code = console.INTERRUPTED
        except OSError as error:  # stdout is a full disk
            code = console.stop(error, console.FAILED).exit_code
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in its buffer
        except Exception as error:
            # Click's own, which lies in another package from one version of typer to the next.
            if not hasattr(error, "format_message"):
                raise
            message, context = error.format_message(), getattr(error, "ctx", None)
            if type(error).__name__ == "NoArgsIsHelpError":
                typer.echo(message, err=True)
            else:
                where = "" if context is None else f" See: {context.command_path} --help"
                console.tell("error", f"{message}{'' if message[-1:] in '.?' else '.'}{where}")
            code = console.BAD_INPUT
        sys.exit(code or 0)

    def _show_help(self, words: Sequence[str]) -> int | None:
        """Shows the help that `COMMAND --help` asks for; without Typer, which imports pydantic (0.15 s) to check options."""
        if len(words) < 2 or words[-1] not in ("--help", "-h"):
            return None
        command: Any = self
        context: Any = self.context_class(self, info_name=self.name, **self.context_settings)
        for name in words[:-1]:
            command = getattr(command, "commands", {}).get(name)
            if command is None:
                return None
            context = command.context_class(command, info_name=name, parent=context, **command.context_settings)
        typer.echo(write_help(command, context), nl=False)
        return 0
