"""What a tuned model's file holds besides the model: the names of its classes, and how pictures are read for it.

A `.keras` file is a zip archive, and Keras leaves alone what it does not know in it.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MEMBER = "difflr.json"


def add(file: Path, about: Mapping[str, object]) -> None:
    """Writes it into the file.

    Args:
        file: The `.keras` file, which has none yet.
        about: Plain data.
    """
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(MEMBER, json.dumps(about, indent=1))


def read(file: Path) -> dict[str, Any]:
    """What was written; empty if nothing was.

    Args:
        file: A `.keras` file.
    """
    with zipfile.ZipFile(file) as archive:
        return dict(json.loads(archive.read(MEMBER))) if MEMBER in archive.namelist() else {}
