"""What an interrupted run leaves: a folder beside the output, with the state after its last complete epoch."""

import contextlib
import io
import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.data.examples import some
from difflr.files import write_whole
from difflr.text_table import counted


class Checkpoint(keras.callbacks.Callback):
    """Keeps weights, optimizer and history after each epoch, and resumes from there.

    Keras's `BackupAndRestore` writes two files, so that a run killed between them would repeat an epoch; here one file
    says which weights belong to it.

    The weights of the best epoch on the validation data are kept, too; after `patience` epochs without a better one it
    stops.

    Args:
        folder: Where to.
        patience: Epochs; 0: it never stops.
    """

    def __init__(self, folder: Path, patience: int = 0):
        super().__init__()
        self.folder, self._patience = folder, patience
        self._record = folder / "run.json"
        self._settings: dict[str, Any] = {}
        self._found: dict[str, Any] | None = None
        self.history: list[dict[str, float]] = []
        self.log_ids: dict[str, str] = {}  # the runs of `--log`, which are resumed too
        self._checksums: dict[str, int] = {}  # of the files that belong to the record

    @property
    def epochs(self) -> int:
        """How many epochs are complete."""
        return len(self.history)

    @property
    def epochs_on_disk(self) -> int:
        """How many epochs a run that resumes finds."""
        with contextlib.suppress(ValueError):
            return len((self._read() or {"history": ()})["history"])
        return 0

    @property
    def _weights(self) -> Path:
        return self.folder / f"epoch-{self.epochs}.weights.h5"

    @property
    def _best_weights(self) -> Path:
        return self.folder / f"best-{(self.best or 0) + 1}.npz"

    @property
    def best(self) -> int | None:
        """The best complete epoch on the validation data, from 0; `None` if there is none or no such data."""
        scores = [(epoch.get("val_accuracy", 0.0), -epoch["val_loss"]) for epoch in self.history if "val_loss" in epoch]
        return max(range(len(scores)), key=scores.__getitem__) if scores else None

    @property
    def is_over(self) -> bool:
        """Whether so many epochs were no better that it stops."""
        best = self.best
        return bool(self._patience) and best is not None and self.epochs - 1 - best >= self._patience

    def load_best(self) -> None:
        """Puts the weights of the best epoch back."""
        if self.best is not None and self.best != self.epochs - 1:
            with np.load(self._best_weights) as arrays:
                self.model.set_weights([arrays[name] for name in arrays.files])

    def open(self, resume: bool) -> None:
        """Finds the saved state to resume from.

        Raises:
            ValueError: If there is nothing to resume; if there is something and it is not asked for.
        """
        found = self._read()
        kept = len(found["history"]) if found else 0
        if kept and not resume:
            raise ValueError(
                f"{self.folder} keeps an interrupted run, {counted(kept, 'epoch')} of it. Resume it with --resume, or "
                "remove the folder to start over."
            )
        if resume and not kept:
            raise ValueError(f"There is nothing to resume: {self.folder} keeps no complete epoch. Leave out --resume.")
        self._found = found if resume else None

    def compare(self, settings: dict[str, Any]) -> None:
        """Checks that the run that was found is this one.

        Args:
            settings: The settings of the run, as plain data. They must be the same to resume.

        Raises:
            ValueError: If it is another.
        """
        self._settings = settings
        if self._found is None:
            return
        for name, value in settings.items():
            before = self._found["settings"].get(name)
            if before != value and isinstance(before, dict) and isinstance(value, dict):
                raise ValueError(
                    f"The interrupted run cannot be resumed: {_differences(before, value)}. Restore the {name}, or "
                    f"remove {self.folder} to start over."
                )
            if before != value:
                what = f"was {before}, now {value}" if len(str(value)) < 60 else "is not what it was"
                raise ValueError(
                    f"The interrupted run cannot be resumed: {name} {what}. Give the same, or "
                    f"remove {self.folder} to start over."
                )
        self.history, self._checksums = self._found["history"], self._found["checksums"]
        self.log_ids = self._found.get("log", {})
        for name, checksum in self._checksums.items():
            file = self.folder / name
            if not file.is_file() or zlib.crc32(file.read_bytes()) != checksum:
                what = "is damaged, or of another run" if file.is_file() else "is gone"
                raise ValueError(f"{file} {what}. Restore it, or remove {self.folder} to start over.")

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self._record.read_text(encoding="utf-8"))
            list(found["history"]), found["settings"]["model"], dict(found["checksums"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError):
            raise ValueError(f"{self._record} cannot be read. Remove {self.folder} to start over.") from None
        return dict(found)

    def on_train_begin(self, logs: Any = None) -> None:
        """Loads the state of an interrupted run."""
        if self.history:
            if not self.model.optimizer.built:
                self.model.optimizer.build(self.model.trainable_variables)
            self.model.load_weights(self._weights)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keeps the state; the epoch counts as kept when all of it is on the disk."""
        before = self.history, self._checksums
        self.history = [*self.history, {name: float(value) for name, value in (logs or {}).items()}]
        try:
            self.folder.mkdir(exist_ok=True)
            best = self._best_weights.name
            self._checksums = {name: checksum for name, checksum in before[1].items() if name == best}
            if self.best == epoch:
                arrays = io.BytesIO()
                np.savez(arrays, *self.model.get_weights())
                self._write(self._best_weights, arrays.getvalue())
            self._write(self._weights, keras_private.weights_file(self.model))
            record = {"settings": self._settings, "history": self.history, "checksums": self._checksums}
            record["log"] = self.log_ids
            write_whole(self._record, json.dumps(record, indent=1))
        except BaseException:
            if self.epochs_on_disk != self.epochs:  # else it was interrupted when all was written
                self.history, self._checksums = before
            raise
        finally:
            self._tidy()
        if self.is_over:
            self.model.stop_training = True

    def _write(self, file: Path, content: bytes) -> None:
        write_whole(file, content)
        self._checksums[file.name] = zlib.crc32(content)

    def _tidy(self) -> None:
        """Removes what does not belong to the record: earlier epochs, and what an interrupt or a full disk left."""
        with contextlib.suppress(OSError):  # the folder is gone
            for file in self.folder.iterdir():
                if file.name not in self._checksums and (file != self._record or not self.history):
                    file.unlink()
            if not self.history:
                self.folder.rmdir()

    def remove(self) -> None:
        """Removes the folder: the run is over."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Which files have changed, are gone, or are new."""
    kinds = {
        "changed": [name for name in before if name in now and before[name] != now[name]],
        "gone": [name for name in before if name not in now],
        "new": [name for name in now if name not in before],
    }
    return ", ".join(f"{counted(len(names), 'file')} {kind} ({some(names)})" for kind, names in kinds.items() if names)
