"""`Journal`: the trials of a search on disk, so that an interrupted search can resume."""

import json
import os
import zlib
from pathlib import Path

import keras
import numpy as np

from difflr.choosing.examples import Examples
from difflr.choosing.scores import Scores
from difflr.files import write_whole


class Journal:
    """The scores so far, by candidate and part of the data.

    Args:
        path: The file; `None` to save nothing.
        search: The fingerprint of the search. Trials of any other search are discarded.
    """

    def __init__(self, path: str | os.PathLike[str] | None, search: str):
        self._path, self._search = None if path is None else Path(path), search
        self._known: dict[str, dict[str, list[float] | None]] = {}
        if self._path is not None and self._path.is_file():
            try:
                data = json.loads(self._path.read_text())
                self._known = data["trials"] if data["search"] == search else {}
            except (ValueError, KeyError, TypeError):  # another kind of file, or damaged: the trials are repeated
                self._known = {}

    def get(self, name: str) -> Scores | None:
        """The saved scores of this name, if any."""
        found = self._known.get(name)
        if found is None:
            return None
        losses, correct = found["losses"], found["correct"]
        return Scores(np.array(losses), None if correct is None else np.array(correct))

    def put(self, name: str, scores: Scores) -> None:
        """Saves scores under a name.

        Args:
            name: The name of the candidate and the part.
            scores: The scores.
        """
        correct = None if scores.correct is None else scores.correct.tolist()
        self._known[name] = {"losses": scores.losses.tolist(), "correct": correct}
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps({"search": self._search, "trials": self._known}))


def fingerprint(model: keras.Model, examples: Examples, *more: object) -> str:
    """Identifies a search by its initial weights, its data and its settings.

    Args:
        model: The model.
        examples: The data.
        *more: The settings.
    """
    number = zlib.crc32(repr(more).encode())
    for array in keras.tree.flatten(examples.at(np.arange(min(len(examples), 256)))):
        number = zlib.crc32(
            np.ascontiguousarray(array).tobytes() if array.dtype != object else repr(array).encode(), number
        )
    for variable in model.trainable_variables:
        number = zlib.crc32(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes(), number)
    return f"{number:08x}"
