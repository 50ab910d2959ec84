"""`read_rows`: two things of each row of a table: a text or a file, and what it is labeled."""

import csv
import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from difflr.checks import did_you_mean
from difflr.data.examples import check_skipped

MOST_CHARACTERS = 10_000_000  # of one field; Python's csv allows 131,072
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
# What the content is -> what it holds, and what the model takes otherwise.
HOLDS = {"text": ("texts", "images"), "file": ("paths of images", "texts")}
NO_LABEL = "no label"
Value = str | float | list[str] | tuple[str, ...] | None


class Row(NamedTuple):
    """A row: which, the text or file in it, its label, and why it is left out."""

    place: str
    content: str
    label: Value
    reason: str | None = None


def read_rows(
    file: Path, content_columns: Sequence[str], label_columns: Sequence[str], what: str, targets: str | None = None
) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows of a table in UTF-8: CSV by commas, semicolons or tabs; JSON, an object a line; or Parquet.

    Args:
        file: The table.
        content_columns: The column with the texts or files: the first of these that is there.
        label_columns: The columns with the labels; with several, a row's label is a tuple.
        what: What the content is: `"text"` or `"file"`.
        targets: As in `read_table`. With `"several"`, an empty label is none of them.

    Returns:
        The rows that have both, and pairs of a row and the reason for those that have not.

    Raises:
        ValueError: If it is no such table, a column is missing, there are no rows, or more than a tenth of them lack
            something.
    """
    rows = list(rows_of(file, content_columns, label_columns, what))
    if targets == "several" and len(label_columns) == 1:
        rows = [Row(row.place, row.content, []) if row.reason == NO_LABEL else row for row in rows]
    if not rows:
        raise ValueError(f"{file} has no rows below the names of its columns.")
    skipped = [(row.place, row.reason) for row in rows if row.reason is not None]
    check_skipped(skipped, len(rows), str(file))
    return [row for row in rows if row.reason is None], skipped


def rows_of(file: Path, content_columns: Sequence[str], label_columns: Sequence[str], what: str) -> Iterator[Row]:
    """All rows, also those that lack something, as they are read.

    Args:
        file: As in `read_rows`, like all others.
        content_columns: The column with the texts or files: the first of these that is there.
        label_columns: The columns with the labels; none for a table without labels.
        what: What the content is.

    Raises:
        ValueError: If it is no such table, or a column is missing.
    """
    readers = {".jsonl": _json_rows, ".ndjson": _json_rows, ".parquet": _parquet_rows}
    reader = readers.get(file.suffix.lower(), _csv_rows)
    try:
        yield from reader(file, content_columns, label_columns, what)
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error.reason} at byte {error.start}). Save it so.") from None


def _csv_rows(file: Path, contents: Sequence[str], labels: Sequence[str], what: str) -> Iterator[Row]:
    before = csv.field_size_limit(MOST_CHARACTERS)  # of the whole process
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            separator, content = _separator(opened, file, contents, labels, what)
            reader = csv.DictReader(opened, delimiter=separator)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            for row in reader:
                made = _row(f"line {reader.line_num}", row, content, labels, what)
                if None in row:
                    reason = "more fields than columns: put quotes around a text with separators in it"
                    made = Row(made.place, made.content, made.label, reason)
                yield made
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV file: {error}.") from None
    finally:
        csv.field_size_limit(before)


def _json_rows(file: Path, contents: Sequence[str], labels: Sequence[str], what: str) -> Iterator[Row]:
    content = ""
    with file.open(encoding="utf-8-sig") as opened:
        for number, line in enumerate(opened, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{file} is no JSON Lines file: line {number} is no JSON ({error}).") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}: line {number} must be an object with names. Received: {line.strip()[:50]}.")
            content = content or _content_column(file, list(row), contents, labels, what)
            yield _row(f"line {number}", row, content, labels, what)


def _parquet_rows(file: Path, contents: Sequence[str], labels: Sequence[str], what: str) -> Iterator[Row]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError(f"{file} needs pyarrow: pip install pyarrow") from None
    try:
        opened = parquet.ParquetFile(file)
    except Exception as error:
        raise ValueError(f"{file} is no Parquet file: {error}") from None
    with opened:
        content = _content_column(file, opened.schema_arrow.names, contents, labels, what)
        number = 0
        for batch in opened.iter_batches(columns=[content, *labels]):
            for row in batch.to_pylist():
                number += 1
                yield _row(f"row {number}", row, content, labels, what)


def _row(place: str, row: Mapping[Any, Any], content: str, labels: Sequence[str], what: str) -> Row:
    text = "" if row.get(content) is None else str(row[content])
    values = [_clean(row.get(name)) for name in labels]
    missing = [name for name, value in zip(labels, values, strict=True) if value is None or value == ""]
    label = values[0] if len(values) == 1 else tuple(str(value) for value in values)
    reason = f"no {what}" if not text.strip() else NO_LABEL if missing else None
    return Row(place, text, label, reason)


def _clean(value: object) -> Value:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, (list, tuple)):
        return [str(one) for one in value]
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, (int, float)):
        return str(value) if isinstance(value, int) else value
    return str(value)


def _separator(
    opened: TextIO, file: Path, contents: Sequence[str], labels: Sequence[str], what: str
) -> tuple[str, str]:
    """The separator by which the first row has the columns that are wanted, and which of `contents` is there."""
    found = {}
    for separator in SEPARATORS:
        opened.seek(0)
        found[separator] = [name.strip() for name in next(csv.reader(opened, delimiter=separator), [])]
    opened.seek(0)
    if not any(found.values()):
        raise ValueError(f"{file} is empty. The first row must have the names of the columns.")
    for separator, columns in found.items():
        content = next((name for name in contents if name in columns), None)
        if content is not None and set(labels) <= set(columns):
            return separator, _content_column(file, columns, contents, labels, what)
    separator = max(found, key=lambda one: len(found[one]))
    _content_column(file, found[separator], contents, labels, what, f", separated by {SEPARATORS[separator]},")
    raise AssertionError("a column is missing")


def _content_column(
    file: Path, columns: Sequence[str], contents: Sequence[str], labels: Sequence[str], what: str, how: str = ""
) -> str:
    """Which of `contents` is among the columns.

    Raises:
        ValueError: If none is, a column of the labels is missing or has the texts or files, or there are several of a name.
    """
    content = next((name for name in contents if name in columns), None)
    missing = contents[0] if content is None else next((name for name in labels if name not in columns), None)
    if content is not None and missing is None:
        twice = next((name for name in (content, *labels) if columns.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{file} has several columns '{twice}'. Rename all but one.")
        if content in labels:
            raise ValueError(f"The column '{content}' of {file} holds {HOLDS[what][0]}, and cannot be the labels, too.")
        return content
    argument = f"{what}_column" if content is None else "label_column"
    hint = did_you_mean(str(missing), columns, 1, 0.6)
    if content is None:
        held, other = HOLDS[what]
        like = " or the like" if len(contents) > 1 else ""
        missing, other = f"'{missing}'{like} with {held}", f" A table of {other} needs a model that takes {other}."
    else:
        missing, other = f"'{missing}'", ""
    raise ValueError(
        f"{file} has no column {missing}. Its columns{how or ''} are: {', '.join(map(str, columns)) or 'none'}.{hint} Say "
        f"which one it is: `{argument}`.{other}"
    )
