"""Tables as aligned text."""

from collections.abc import Collection, Sequence


def text_table(header: Sequence[str], lines: Sequence[Sequence[str]], left: Collection[int], footer: str = "") -> str:
    """A header, a rule and lines in columns that are as wide as what is in them.

    Args:
        header: The names of the columns.
        lines: The cells, as many in each line as there are columns.
        left: The positions of the columns that are aligned to the left; numbers belong to the right.
        footer: Text below the table, behind a second rule.
    """
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]

    def aligned(line: Sequence[str]) -> str:
        cells = [
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([aligned(header), rule, *map(aligned, lines), *([rule, footer] if footer else [])])
