"""Tables as aligned text, whole or fitted to a width, and as HTML for notebooks.

No word is ever cut, for rules need names whole.
"""

import html
import itertools
import os
import re
import sys
import textwrap
from collections.abc import Collection, Sequence

GAP = 2  # between columns


class TextTable(str):
    """A table as text, which a notebook shows as HTML."""

    page: str

    def _repr_html_(self) -> str:
        return self.page


class ShownAsTable:
    """Shows itself as HTML in a notebook: for classes whose `__str__` returns a `TextTable`."""

    def _repr_html_(self) -> str:
        return self.__str__().page  # type: ignore[attr-defined,no-any-return]


def text_table(
    header: Sequence[str],
    lines: Sequence[Sequence[str]],
    left: Collection[int],
    footer: str = "",
    *,
    width: int | None = None,
    optional: Sequence[str] = (),
) -> TextTable:
    """A header, a rule and lines in columns.

    Args:
        header: The titles of the columns.
        lines: The cells, as many in each line as there are columns.
        left: The positions of the columns that are aligned to the left; numbers belong to the right.
        footer: Text below the table, behind a second rule.
        width: Integer, how wide it may be: cells on the left and titles are then broken between words. `None`: the
            columns are as wide as what is in them.
        optional: The titles of the columns that are left out, in this order, where words would not fit into `width`.
    """
    page = html_table(header, lines, left, footer)
    columns = [_Column(cells, number in left) for number, cells in enumerate(zip(header, *lines, strict=True))]
    for title in optional if width is not None else ():
        if _sum([column.narrowest for column in columns]) > width:  # type: ignore[operator]
            columns = [column for column in columns if column.cells[0] != title]
    left_out = [title for title in header if title not in [column.cells[0] for column in columns]]
    if left_out:
        footer = f"{footer}\nLeft out at this width: {', '.join(left_out)}.".strip()
    widths = _widths(columns, width)
    rows = [_row(columns, widths, number) for number in range(len(lines) + 1)]
    rule = "-" * _sum(widths)
    below = [] if not footer else [rule, *(footer.splitlines() if width is None else _wrapped(footer, width))]
    table = TextTable("\n".join([*rows[0], rule, *itertools.chain.from_iterable(rows[1:]), *below]))
    table.page = page
    return table


def html_table(header: Sequence[str], lines: Sequence[Sequence[str]], left: Collection[int], footer: str = "") -> str:
    """The same table as HTML, as a notebook shows it. All text is escaped; `code` in the footer becomes `<code>`.

    Args:
        header: As in `text_table`, like all others.
        lines: The cells.
        left: The positions of the columns that are aligned to the left.
        footer: Text below the table.
    """

    def row(tag: str, cells: Sequence[str]) -> str:
        aligned = [
            f'<{tag} style="text-align: {"left" if number in left else "right"}">{html.escape(cell)}</{tag}>'
            for number, cell in enumerate(cells)
        ]
        return f"<tr>{''.join(aligned)}</tr>"

    body = "".join(row("td", cells) for cells in lines)
    notes = [re.sub("`([^`]+)`", r"<code>\1</code>", html.escape(line)) for line in footer.splitlines()]
    below = f"<p>{'<br>'.join(notes)}</p>" if footer else ""
    return f"<table><thead>{row('th', header)}</thead><tbody>{body}</tbody></table>{below}"


def screen_width() -> int | None:
    """How many columns there are on the screen, or what `COLUMNS` in the environment says; `None` for files and pipes."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (AttributeError, OSError, ValueError):  # no terminal, or something else in the place of stdout
        return None


def counted(number: int, one: str, several: str | None = None) -> str:
    """A number with its noun: "1 epoch", "2 epochs".

    Args:
        number: How many.
        one: The noun for one.
        several: The noun for none and several; by default with an s.
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


class _Column:
    """A title and the cells below it.

    Args:
        cells: The title, and a cell for each line.
        left: Whether it is aligned to the left, and may be broken between words.
    """

    def __init__(self, cells: Sequence[str], left: bool):
        self.cells = cells
        self.left = left
        title, *others = cells
        words = title.split() + [word for cell in others for word in (cell.split() if left else [cell])]
        self.narrowest = max(map(len, words), default=0)
        self.widest = max(map(len, cells))

    def lines(self, number: int, width: int) -> list[str]:
        """One of the cells, broken into lines of this width."""
        if len(self.cells[number]) <= width:
            return [self.cells[number]]
        return _wrapped(self.cells[number], width)


def _widths(columns: Sequence[_Column], width: int | None) -> list[int]:
    """The widths of the columns: what room there is goes to the first one that needs it."""
    if width is None:
        return [column.widest for column in columns]
    rest = max(0, width - _sum([column.narrowest for column in columns]))
    widths = []
    for column in columns:
        more = min(rest, column.widest - column.narrowest)
        rest -= more
        widths.append(column.narrowest + more)
    return widths


def _row(columns: Sequence[_Column], widths: Sequence[int], number: int) -> list[str]:
    cells = [column.lines(number, width) for column, width in zip(columns, widths, strict=True)]
    return [
        (" " * GAP)
        .join(
            part.ljust(width) if column.left else part.rjust(width)
            for part, width, column in zip(parts, widths, columns, strict=True)
        )
        .rstrip()
        for parts in itertools.zip_longest(*cells, fillvalue="")
    ]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines of at most this width, unless a word is longer."""
    return [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, width, break_long_words=False, break_on_hyphens=False)
    ]


def _sum(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)
