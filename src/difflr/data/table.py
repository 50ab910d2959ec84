"""`read_table` and `open_image_table`: texts, or images, and their labels in a table."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from difflr.data.examples import Examples, check_skipped
from difflr.data.image_files import MOST_HELD, ImageFiles, scan
from difflr.data.labels import Targets, targets_of
from difflr.data.rows import Row, read_rows

FILE_COLUMNS = ("file", "path", "image", "picture", "filename", "file_name", "filepath", "file_path", "image_path")


def read_table(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str | Sequence[str] = "label",
    class_names: Sequence[str] | None = None,
    targets: str | None = None,
) -> Examples:
    """Reads texts and their labels from a table in UTF-8: CSV, JSON Lines or Parquet.

    CSV fields may be separated by commas, semicolons or tabs. Every nonempty label is a class, even "None" and "nan".

    Args:
        file: The table. The first row of a CSV has the column names; a `.jsonl` file has one object per line; a `.parquet`
            file needs pyarrow.
        text_column: The column with the texts.
        label_column: The column with the labels; or several columns, with numbers, or with 0 and 1 for one label each.
        class_names: The class names, in label order. By default the labels found, sorted.
        targets: The kind of labels: `"labels"`, one per text; `"several"`, any number per text, as a list or separated by
            `|`, `;` or `,`; `"numbers"` to predict. By default the kind is guessed, and `notes` says so.

    Returns:
        A `difflr.data.Examples` with `x` of shape `(num_rows,)`, an object array of strings. `skipped` lists the rows
        without a text or a label, or with more fields than columns.

    Raises:
        ValueError: If a column is missing, there are no rows or only one class, or more than a tenth of the rows are
            skipped.

    Example:

    ```python
    from pathlib import Path

    rows = ["text,label", "What a film!,good", '"Long, and dull.",bad']
    Path("films.csv").write_text(chr(10).join(rows))
    examples = difflr.data.read_table("films.csv")
    print(examples.class_names, examples.y)  # ('bad', 'good') [1 0]
    ```
    """
    file, columns = Path(file), _columns(label_column)
    rows, skipped = read_rows(file, [text_column], columns, "text", targets)
    texts = np.empty(len(rows), object)  # NumPy's own strings are all as long as the longest
    texts[:] = [row.content for row in rows]
    return _examples(texts, rows, skipped, file, columns, class_names, targets)


def open_image_table(
    file: str | Path,
    size: tuple[int, int],
    *,
    file_column: str | None = None,
    label_column: str | Sequence[str] = "label",
    channels: int = 3,
    class_names: Sequence[str] | None = None,
    targets: str | None = None,
    on_image: Callable[[int, int], None] | None = None,
    most_held: int | None = MOST_HELD,
) -> Examples:
    """Opens the images that a table lists, with their labels, as `difflr.data.open_folder` does.

    Args:
        file: A table as for `difflr.data.read_table`. Its paths are relative to the table's folder.
        size: Pair of integers, the height and width in pixels.
        file_column: The column with the paths. By default the first column named file, path, image or similar.
        label_column: As in `difflr.data.read_table`.
        channels: Integer: 1 for grayscale, 3 for RGB, 4 for RGBA.
        class_names: As in `difflr.data.read_table`.
        targets: As in `difflr.data.read_table`.
        on_image: As in `difflr.data.open_folder`.
        most_held: As in `difflr.data.open_folder`.

    Returns:
        A `difflr.data.Examples`, with a `difflr.data.ImageFiles` as `x`.

    Raises:
        ImportError: If Pillow is not installed.
        ValueError: As in `difflr.data.read_table`; or if more than a tenth of the images cannot be read.

    Example:

    ```python
    from pathlib import Path
    from PIL import Image

    Image.new("RGB", (40, 30), "blue").save("sea.png")
    Image.new("RGB", (40, 30), "green").save("wood.png")
    Path("images.csv").write_text(chr(10).join(["file,label", "sea.png,sea|blue", "wood.png,wood"]))
    examples = difflr.data.open_image_table("images.csv", (32, 32), targets="several")
    print(examples.class_names, examples.y.tolist())  # ('blue', 'sea', 'wood') [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    ```
    """
    file, columns = Path(file), _columns(label_column)
    rows, skipped = read_rows(file, FILE_COLUMNS if file_column is None else [file_column], columns, "file", targets)
    paths = [file.parent / row.content.strip() for row in rows]
    images, kept, reasons, remarks = scan(paths, size, channels, on_image, most_held)
    skipped += [(rows[position].content, reason) for position, reason in reasons.items()]
    check_skipped(skipped, len(rows), str(file))
    whole = _examples(images, [rows[one] for one in kept], skipped, file, columns, class_names, targets)
    return dataclasses.replace(whole, notes=(*whole.notes, *dict.fromkeys(remarks)))


def image_targets(
    file: Path, label_column: Sequence[str], *, file_column: str | None = None, targets: str | None = None
) -> Targets:
    """The labels of the images that a table names, without an image being read.

    Args:
        file: As in `open_image_table`.
        label_column: The columns with the labels.
        file_column: As in `open_image_table`.
        targets: As in `open_image_table`.

    Raises:
        ValueError: As in `read_table`.
    """
    rows, _ = read_rows(file, FILE_COLUMNS if file_column is None else [file_column], label_column, "file", targets)
    return targets_of([row.label for row in rows], label_column, _where(file, label_column), targets)


def _examples(
    x: np.ndarray | ImageFiles,
    rows: Sequence[Row],
    skipped: Sequence[tuple[str, str]],
    file: Path,
    columns: Sequence[str],
    class_names: Sequence[str] | None,
    targets: str | None,
) -> Examples:
    made = targets_of([row.label for row in rows], columns, _where(file, columns), targets, class_names)
    return Examples(x, made.y, made.class_names, tuple(skipped), made.notes)


def _where(file: Path, columns: Sequence[str]) -> str:
    return f"The column{'' if len(columns) == 1 else 's'} {', '.join(repr(name) for name in columns)} of {file}"


def _columns(label_column: str | Sequence[str]) -> list[str]:
    return [label_column] if isinstance(label_column, str) else list(label_column)
