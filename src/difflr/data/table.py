"""`read_table`: texts and their labels in a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from difflr.data.examples import Examples, check_skipped, known_classes

MOST_CHARACTERS = 10_000_000  # of one field; Python's csv allows 131,072


def read_table(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    class_names: Sequence[str] | None = None,
) -> Examples:
    """Reads texts and labels from two columns of a CSV file (or, tab-separated, a `.tsv` file) in UTF-8.

    Args:
        file: Its first row has the names of the columns.
        text_column: The column with the texts.
        label_column: The column with the labels.
        class_names: The classes to number labels by. By default the labels found, sorted.

    Returns:
        The `Examples`: `x` of shape `(num_rows,)`, strings. Rows without a text or a label are listed in `skipped`.

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
            reader = csv.DictReader(opened, delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
            columns = list(reader.fieldnames or [])
            for argument, column in (("text_column", text_column), ("label_column", label_column)):
                if column not in columns:
                    raise ValueError(
                        f"{file} has no column '{column}'. Its columns are: {', '.join(columns) or 'none'}. Say which "
                        f"one it is: `{argument}`."
                    )
            rows = [(reader.line_num, row[text_column] or "", row[label_column] or "") for row in reader]
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not in UTF-8 ({error.reason} at byte {error.start}). Save it so.") from None
    except csv.Error as error:
        raise ValueError(f"{file} is no CSV file: {error}.") from None
    finally:
        csv.field_size_limit(before)
    if not rows:
        raise ValueError(f"{file} has no rows below the names of its columns.")
    kept = [(text, label.strip()) for _, text, label in rows if text.strip() and _is_label(label)]
    skipped = [
        (f"line {line}", "no label" if text.strip() else "no text")
        for line, text, label in rows
        if not (text.strip() and _is_label(label))
    ]
    check_skipped(skipped, len(rows), str(file))
    names = known_classes((label for _, label in kept), class_names, f"The column '{label_column}' of {file}")
    numbers = {name: number for number, name in enumerate(names)}
    texts = np.array([text for text, _ in kept])
    return Examples(texts, np.array([numbers[label] for _, label in kept], "int32"), names, tuple(skipped))


def _is_label(text: str) -> bool:
    return text.strip().lower() not in ("", "nan", "null", "none")
