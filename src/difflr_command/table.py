"""Tables on a terminal of any width, and in files: names are never cut, for rules need them whole.

rich's tables cut what does not fit, on a narrow terminal and in every file.
"""

import itertools
import textwrap
from collections.abc import Sequence

from rich.console import Console

GAP = 2  # between columns


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
    columns = [[title, *(line[number] for line in lines)] for number, title in enumerate(header)]
    room = console.width + GAP if console.is_terminal else sum(max(map(len, column)) + GAP for column in columns)
    for title in optional:
        if sum(_narrowest(column, left) + GAP for column in columns) > room:
            columns = [column for column in columns if column[0] != title]
    rest = room - sum(_narrowest(column, left) + GAP for column in columns)
    widths = []
    for column in columns:
        width = _narrowest(column, left)
        more = max(0, min(rest, max(map(len, column)) - width)) if column[0] in left else 0
        rest -= more
        widths.append(width + more)
    to_left = [column[0] in left for column in columns]
    for number, row in enumerate(zip(*columns, strict=True)):
        for line in _lines(row, widths, to_left):
            console.print(line)
        if number == 0:
            console.print("─" * (sum(widths) + GAP * (len(widths) - 1)))


def _lines(row: Sequence[str], widths: Sequence[int], to_left: Sequence[bool]) -> list[str]:
    """A row, its cells broken between words."""
    cells = [
        textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
        for cell, width in zip(row, widths, strict=True)
    ]
    return [
        (" " * GAP)
        .join(
            part.ljust(width) if left else part.rjust(width)
            for part, width, left in zip(parts, widths, to_left, strict=True)
        )
        .rstrip()
        for parts in itertools.zip_longest(*cells, fillvalue="")
    ]


def _narrowest(column: Sequence[str], left: Sequence[str]) -> int:
    """How narrow a column can be: titles are broken between words, cells on the left too."""
    title, *cells = column
    parts = [*title.split(), *(part for cell in cells for part in (cell.split() if title in left else [cell]))]
    return max(map(len, parts))
