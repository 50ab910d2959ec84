"""`ModelInfo`: class names and input format, saved in a model's file.

A `.keras` file is a zip archive, and Keras ignores unknown entries: the model loads in plain Keras, and `json` and
`zipfile` are enough to read the names. No layer config has a place for them.
"""

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

from difflr.checks import checked_option

MEMBER = "difflr.json"
TASKS = ("classes", "labels", "numbers")
KINDS = ("images", "texts", "arrays")


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What you need to know to use a model, besides its layers.

    Args:
        class_names: The class names in the order of the outputs; if `task` is `"numbers"`, the names of the quantities.
        task: `"classes"`: one class per example. `"labels"`: any number of classes, with independent probabilities.
            `"numbers"`: the outputs are quantities (regression).
        data: The type of input: `"images"`, `"texts"` or `"arrays"`.
        size: Image height and width in pixels; `None` for other data.
        channels: Image channels: 1, 3 or 4; `None` for other data.

    Raises:
        ValueError: If `task` or `data` is not one of these.

    Example:

    ```python
    info = difflr.models.ModelInfo(("cat", "dog"), data="images", size=(224, 224), channels=3)
    model.save("pets.keras")
    difflr.models.write_info("pets.keras", info)
    print(difflr.models.read_info("pets.keras").class_names)  # ('cat', 'dog')
    ```
    """

    class_names: tuple[str, ...] = ()
    task: str = "classes"
    data: str = "arrays"
    size: tuple[int, int] | None = None
    channels: int | None = None

    def __post_init__(self) -> None:
        checked_option(self.task, "task", TASKS)
        checked_option(self.data, "data", KINDS)

    def as_data(self) -> dict[str, Any]:
        """As plain data."""
        found = {"classes": list(self.class_names), "task": self.task, "data": self.data}
        return found if self.size is None else {**found, "size": list(self.size), "channels": self.channels}


def write_info(file: str | Path, info: ModelInfo) -> None:
    """Write `info` into a `.keras` file that has none yet.

    Args:
        file: A file written by `model.save`.
        info: The information to write.
    """
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(MEMBER, json.dumps(info.as_data(), indent=1, ensure_ascii=False))


def read_info(file: str | Path) -> ModelInfo | None:
    """Read the information that `write_info` wrote. `None` if there is none, as after another `model.save`.

    Args:
        file: The file.

    Raises:
        ValueError: If it cannot be read.
    """
    with zipfile.ZipFile(file) as archive:
        if MEMBER not in archive.namelist():
            return None
        content = archive.read(MEMBER)
    try:
        found = json.loads(content)
        size = found.get("size")
        return ModelInfo(
            tuple(map(str, found["classes"])),
            found.get("task", "classes"),
            found.get("data", "images" if size else "arrays"),
            None if size is None else (int(size[0]), int(size[1])),
            found.get("channels"),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"{MEMBER} in {file} cannot be read: {error}. Save the model again.") from None
