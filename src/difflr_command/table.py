"""Tables on a terminal of any width, and in files: names are never cut, for rules need them whole."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def print_table(
    console: Console,
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    *,
    left: Sequence[str],
    optional: Sequence[str] = (),
) -> None:
    """Prints a table; on a terminal as wide as that is, else as wide as it wants to be.

    Args:
        console: Where to.
        header: The title of each column.
        lines: The cells of each row.
        left: The titles of the columns that are aligned to the left and broken between words.
        optional: The titles of the columns that are left out, in this order, where a word would not fit.
    """
    shown = list(range(len(header)))
    wanted = console.width if console.is_terminal else _width(header, lines, shown, "\n")
    for title in optional:
        if _width(header, lines, shown, " ") > wanted and title in header:
            shown.remove(header.index(title))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    for column in shown:
        to_left = header[column] in left
        title = header[column] if to_left else header[column].replace(" ", "\n")
        table.add_column(title, justify="left" if to_left else "right", overflow="fold", no_wrap=not to_left)
    for line in lines:
        table.add_row(*(line[column] for column in shown))
    console.print(table, width=min(wanted, _width(header, lines, shown, "\n")))


def _width(header: Sequence[str], lines: Sequence[Sequence[str]], shown: Sequence[int], separator: str) -> int:
    """How wide the columns `shown` are if cells can be broken at `separator`."""
    widths = [
        max(len(part) for cell in (header[column], *(line[column] for line in lines)) for part in cell.split(separator))
        for column in shown
    ]
    return sum(widths) + 2 * len(widths)
