"""`read_table`: texts and their labels in a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np

from difflr.data.examples import Examples, check_skipped, known_classes

MOST_CHARACTERS = 10_000_000  # of one field; Python's csv allows 131,072
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
Row = tuple[int, str, str, str | None]  # the line it ends in, text, label, and why it is left out


def read_table(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    class_names: Sequence[str] | None = None,
) -> Examples:
    """Reads texts and labels from two columns of a CSV file in UTF-8, separated by commas, semicolons or tabs.

    Every label that is not empty is a class, "None" and "nan" too.

    Args:
        file: Its first row has the names of the columns.
        text_column: The column with the texts.
        label_column: The column with the labels.
        class_names: The classes to number labels by. By default the labels found, sorted.

    Returns:
        The `Examples`: `x` of shape `(num_rows,)`, strings in an array of objects. Rows without a text or a label, or
        with more fields than there are columns, are listed in `skipped`.

    Raises:
        ValueError: If a column is missing, there are no rows or one class only, or more than a tenth of the rows lack
            something.

    Example:

    ```python
    from pathlib import Path

    rows = ["text,label", "What a film!,good", '"Long, and dull.",bad']
    Path("films.csv").write_text(chr(10).join(rows))
    examples = difflr.data.read_table("films.csv")
    print(examples.class_names, examples.y)  # ('bad', 'good') [1 0]
    ```
    """
    file = Path(file)
    before = csv.field_size_limit(MOST_CHARACTERS)  # of the whole process
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            separator = _separator(opened, file, {"text_column": text_column, "label_column": label_column})
            reader = csv.DictReader(opened, delimiter=separator)
            rows = [_row(reader.line_num, row, text_column, label_column) for row in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error.reason} at byte {error.start}). Save it so.") from None
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV file: {error}.") from None
    finally:
        csv.field_size_limit(before)
    if not rows:
        raise ValueError(f"{file} has no rows below the names of its columns.")
    kept = [(text, label) for _, text, label, reason in rows if reason is None]
    skipped = [(f"line {line}", reason) for line, _, _, reason in rows if reason is not None]
    check_skipped(skipped, len(rows), str(file))
    names = known_classes((label for _, label in kept), class_names, f"The column '{label_column}' of {file}")
    numbers = {name: number for number, name in enumerate(names)}
    texts = np.empty(len(kept), object)  # NumPy's own strings are all as long as the longest
    texts[:] = [text for text, _ in kept]
    return Examples(texts, np.array([numbers[label] for _, label in kept], "int32"), names, tuple(skipped))


def _separator(opened: TextIO, file: Path, wanted: dict[str, str]) -> str:
    """The separator by which the first row has the columns that are `wanted`: argument -> column."""
    found = {}
    for separator in SEPARATORS:
        opened.seek(0)
        found[separator] = next(csv.reader(opened, delimiter=separator), [])
    opened.seek(0)
    for separator, columns in found.items():
        if set(wanted.values()) <= set(columns):
            return separator
    separator = max(found, key=lambda each: len(found[each]))
    columns = found[separator]
    argument, column = next(pair for pair in wanted.items() if pair[1] not in columns)
    raise ValueError(
        f"{file} has no column '{column}'. Its columns, separated by {SEPARATORS[separator]}, are: "
        f"{', '.join(columns) or 'none'}. Say which one it is: `{argument}`."
    )


def _row(line: int, row: dict[str | None, str | list[str] | None], text_column: str, label_column: str) -> Row:
    text, label = str(row[text_column] or ""), str(row[label_column] or "").strip()
    if None in row:
        return line, text, label, "more fields than columns: put quotes around a text with separators in it"
    return line, text, label, "no text" if not text.strip() else None if label else "no label"
