"""`Journal`: the trials of a search on disk, so that an interrupted search can resume."""

import contextlib
import json
import os
import zlib
from collections.abc import Callable
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
        self._known: dict[str, list[list[float] | None]] = {}
        if self._path is not None and self._path.is_file():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # not a journal, or damaged: trials are repeated
                data = json.loads(self._path.read_text())
                self._known = data["trials"] if data["search"] == search else {}

    def scores(self, name: str, run: Callable[[], Scores]) -> Scores:
        """The scores under a name: those saved, or those of a new trial, which are then saved.

        Args:
            name: The name of the candidate and the part.
            run: Runs the trial.
        """
        if name in self._known:
            return Scores(*(None if values is None else np.array(values) for values in self._known[name]))  # type: ignore[arg-type]
        scores = run()
        self._known[name] = [scores.losses.tolist(), None if scores.correct is None else scores.correct.tolist()]
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, json.dumps({"search": self._search, "trials": self._known}))
        return scores


def fingerprint(model: keras.Model, examples: Examples, *more: object) -> str:
    """Identifies a search by its initial weights, its data and its settings.

    Args:
        model: The model.
        examples: The data.
        *more: The settings.
    """
    first = keras.tree.flatten(examples.at(np.arange(min(len(examples), 256))))
    weights = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    number = zlib.crc32(repr(more).encode())
    for array in [*first, *weights]:
        as_text = array is None or array.dtype == object
        number = zlib.crc32(repr(array).encode() if as_text else np.ascontiguousarray(array).tobytes(), number)
    return f"{number:08x}"
