"""Tables on a terminal of any width, and in files: names are never cut, for rules need them whole."""

from collections.abc import Sequence

from rich.console import Console

from difflr.text_table import screen_width, text_table


def print_table(
    console: Console,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    left: Sequence[str],
    optional: Sequence[str] = (),
    footer: str = "",
) -> None:
    """Prints a table; on a terminal as wide as that is, else as wide as it wants to be.

    Args:
        console: Where to.
        header: The title of each column.
        lines: The cells of each row.
        left: The titles of the columns that are aligned to the left and broken between words.
        optional: The titles of the columns that are left out, in this order, where a word would not fit.
        footer: Text below the table.
    """
    to_left = {number for number, title in enumerate(header) if title in left}
    console.print(text_table(header, lines, to_left, footer, width=width_of(console), optional=optional))


def width_of(console: Console) -> int | None:
    """How wide a table may be; `None` in files, but for what `COLUMNS` in the environment says."""
    return console.width if console.is_terminal else screen_width()
