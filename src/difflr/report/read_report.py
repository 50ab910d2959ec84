"""`read_report`: the data of a run, out of a report."""

import json
import os
import re
from pathlib import Path

from difflr.report.record import Record, checked_record

BLOCK = "difflr-run"  # the id of the block in the page
MAX_BYTES = 50_000_000


def read_report(path: str | os.PathLike[str]) -> Record:
    """Reads the run in a report of `difflr.write_report` as plain data.

    Args:
        path: The HTML file, or a JSON file with such a record.

    Returns:
        A dict: `title`, `notes`, `time`, `model`, `plan` (path -> multiplier), `phases`, `epochs`, `history` (name ->
        list, `None` where there is no value), `settings`, `versions`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a report of difflr.

    Example:

    ```python
    import difflr

    difflr.write_report("run.html", model, {"loss": [0.9, 0.7]})
    assert difflr.read_report("run.html")["history"]["loss"] == [0.9, 0.7]
    ```
    """
    path = Path(path)
    try:
        return checked_record(json.loads(_text_of_record(path)))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no report {str(path)!r}.") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{str(path)!r} is no report of difflr: its data cannot be read ({error}).") from None
    except (OSError, RecursionError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is no report of difflr: {error}") from None


def _text_of_record(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, a report at most {MAX_BYTES:,}.")
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("{"):
        return text
    found = re.search(rf'<script[^>]* id="{BLOCK}">(.*?)</script>', text, re.DOTALL)
    if not found:
        raise ValueError("it does not hold the data of a run.")
    return found[1]
