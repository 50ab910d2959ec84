"""`BackupAndRestore`: Keras's callback, with backups written atomically."""

import contextlib
import os
import re
import zlib
from pathlib import Path

import keras

from difflr import keras_private
from difflr.files import write_whole

PREFIX = "difflr-backup-"


class BackupAndRestore(keras.callbacks.Callback):
    """Resumes an interrupted training from the end of its last complete epoch, bit for bit.

    Like `keras.callbacks.BackupAndRestore` with `save_freq="epoch"`, but safe if the process is killed while saving. Keras
    overwrites its only copy and then writes the number of the epoch to a second file: a process killed in between leaves
    an unreadable file, or the weights of one epoch with the number of another. Here both are in one new file, which
    replaces the old one once it is complete.

    Phases, schedules, multipliers and the optimizer's state continue exactly. A backup does not
    contain the order of the data and the seeds of dropout and augmentation layers, because Keras does not save them:
    for those, train on `difflr.data.Batches` with `difflr.data.EpochSeeds`.

    Args:
        backup_dir: The folder for the backup of one run at a time, created if missing. Only its files named
            `difflr-backup-...` are read, replaced and removed; the folder is removed when empty.
        delete_checkpoint: Boolean. Whether to remove the backup when training has ended. Defaults to `True`.

    Raises:
        ValueError: If `backup_dir` is empty; on `fit`, if the backup is from another model or cannot be restored.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile(difflr.optimizers.Adam(1e-3), loss="mse")
    x, y = np.ones((8, 4)), np.ones((8, 2))
    model.fit(x, y, epochs=3, callbacks=[difflr.BackupAndRestore("backup")], verbose=0)  # again after a crash
    ```

    Reference: `keras.callbacks.BackupAndRestore`.
    """

    def __init__(self, backup_dir: str | os.PathLike[str], delete_checkpoint: bool = True):
        super().__init__()
        if not str(backup_dir):
            raise ValueError("`backup_dir` is empty. Pass a folder for the backup.")
        self.backup_dir = backup_dir
        self.delete_checkpoint = delete_checkpoint

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        self._check_folder()
        saved = self._saved()
        if not saved:
            return
        epoch, path = max(saved.items())
        if self.model.optimizer is not None and not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        try:
            self.model.load_weights(path)
            keras_private.load_lora(self.model, path)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"The backup {path} cannot be restored: {error}\nBackups are written atomically, so the file was damaged "
                "later, or the model or its optimizer has changed. To start from the first epoch, remove the file."
            ) from error
        keras_private.begin_with_epoch(self.model, epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        Path(self.backup_dir).mkdir(parents=True, exist_ok=True)
        path = Path(self.backup_dir) / f"{PREFIX}{epoch + 1}-{_fingerprint(self.model)}.weights.h5"
        write_whole(path, keras_private.weights_file(self.model))
        for number, other in self._saved().items():
            if number != epoch + 1:
                other.unlink(missing_ok=True)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        keras_private.begin_with_epoch(self.model, None)
        if self.delete_checkpoint:
            for path in [*self._saved().values(), *Path(self.backup_dir).glob(f".unfinished-*-{PREFIX}*")]:
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # other files are in it
                Path(self.backup_dir).rmdir()

    def _check_folder(self) -> None:
        others = set(Path(self.backup_dir).glob(f"{PREFIX}*.weights.h5")) - set(self._saved().values())
        if others:
            raise ValueError(
                f"The backup {min(others)} belongs to another model than '{self.model.name}': its weights have other "
                "shapes. Use a folder for each model, or remove the file to start from the first epoch."
            )

    def _saved(self) -> dict[int, Path]:
        """The backups of this model, by the epoch at which they continue."""
        pattern = re.compile(rf"{PREFIX}(\d+)-{_fingerprint(self.model)}\.weights\.h5")
        found = {path: pattern.fullmatch(path.name) for path in Path(self.backup_dir).glob(f"{PREFIX}*")}
        return {int(match[1]): path for path, match in found.items() if match}


def _fingerprint(model: keras.Model) -> str:
    """A checksum of the shapes of the model's weights. Keras would load some weights of a larger model."""
    shapes = [tuple(weight.shape) for weight in model.weights]
    return f"{zlib.crc32(repr(shapes).encode()):08x}"
