"""What an interrupted run leaves: a folder beside the output, with the state after its last complete epoch."""

import json
import shutil
from pathlib import Path
from typing import Any

import keras

from difflr import keras_private
from difflr.files import write_whole


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, optimizer and history after each epoch, and goes on from there.

    Keras's `BackupAndRestore` writes two files, so that a run killed between them would repeat an epoch; here one file
    says which weights belong to it.

    Args:
        folder: Where to.
        settings: What decides about the run, as plain data: to go on, it has to be the same.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__()
        self.folder = folder
        self._settings = settings
        self._record = folder / "run.json"
        self.history: list[dict[str, float]] = []
        self._weights: str | None = None

    @property
    def epochs(self) -> int:
        """How many epochs are complete."""
        return len(self.history)

    def open(self, resume: bool) -> None:
        """Finds what there is to go on with.

        Raises:
            ValueError: If there is nothing to resume, or what is there is of another run; if there is something and it is
                not asked for.
        """
        found = self._read()
        if not resume:
            if found and found["history"]:
                raise ValueError(
                    f"{self.folder} keeps an interrupted run, {len(found['history'])} epochs of it. Go on with --resume, "
                    f"or remove the folder to begin anew."
                )
            return
        if not found or not found["history"]:
            raise ValueError(f"There is nothing to resume: {self.folder} keeps no complete epoch. Leave out --resume.")
        for name, value in self._settings.items():
            if found["settings"].get(name) != value:
                before = found["settings"].get(name)
                what = f"was {before}, now {value}" if len(str(value)) < 60 else "is not what it was"
                raise ValueError(
                    f"The interrupted run cannot go on: {name} {what}. Give the same, or remove {self.folder} to begin anew."
                )
        self.history, self._weights = found["history"], found["weights"]

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._record.read_text())
            found["history"], found["settings"]["model"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(f"{self._record} cannot be read. Remove {self.folder} to begin anew.") from None
        return dict(found)

    def on_train_begin(self, logs: Any = None) -> None:
        """Loads the state of an interrupted run."""
        if self._weights is not None:
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self.model.load_weights(self.folder / self._weights)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the state."""
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        self.folder.mkdir(exist_ok=True)
        before, self._weights = self._weights, f"epoch-{epoch + 1}.weights.h5"
        write_whole(self.folder / self._weights, keras_private.weights_file(self.model))
        record = {"settings": self._settings, "history": self.history, "weights": self._weights}
        write_whole(self._record, json.dumps(record, indent=1))
        if before:
            (self.folder / before).unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the folder: the run is over."""
        shutil.rmtree(self.folder, ignore_errors=True)
