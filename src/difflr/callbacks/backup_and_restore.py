"""`BackupAndRestore`: Keras's callback with a backup that is written whole or not at all."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import keras

from difflr import keras_private
from difflr.files import write_whole


class BackupAndRestore(keras.callbacks.Callback):
    """Goes on with a training that was broken off, from the end of its last complete epoch, as if there had been no break.

    As `keras.callbacks.BackupAndRestore` with `save_freq="epoch"`, but safe from being killed while it saves. Keras
    overwrites its only copy, and then writes the number of the epoch into a second file: a process that is killed in
    between leaves a file that cannot be read, or weights of one epoch with the number of another, which nothing
    notices. Here weights and number are one file, which takes the place of the old one once it is complete.

    Phases, schedules, multipliers and the optimizer's state go on exactly. Give the data an order that does not depend on
    what was before, or the epochs after the break see it in another one.

    Args:
        backup_dir: The folder for the backup, of this run only. It is made, and removed when training has ended.
        delete_checkpoint: Boolean. `False` keeps it.

    Raises:
        ValueError: If `backup_dir` is empty; on `fit`, if the backup cannot be restored.

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
            raise ValueError("`backup_dir` is empty. Give it the folder for the backup.")
        self.backup_dir = backup_dir
        self.delete_checkpoint = delete_checkpoint

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        saved = self._saved()
        if not saved:
            return
        epoch, path = max(saved.items())
        if self.model.optimizer is not None and not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)
        try:
            self.model.load_weights(path)
        except (OSError, KeyError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"The backup {path} cannot be restored: {error}\nA backup is written whole, so either the file was "
                f"damaged later, or the model is another one. Remove the folder to begin with the first epoch."
            ) from error
        keras_private.begin_with_epoch(self.model, epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        Path(self.backup_dir).mkdir(parents=True, exist_ok=True)
        write_whole(Path(self.backup_dir) / f"{epoch + 1}.weights.h5", keras_private.weights_file(self.model))
        for number, path in self._saved().items():
            if number != epoch + 1:
                path.unlink(missing_ok=True)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        keras_private.begin_with_epoch(self.model, None)
        if self.delete_checkpoint:
            shutil.rmtree(self.backup_dir, ignore_errors=True)

    def _saved(self) -> dict[int, Path]:
        """The backups that are there, by the number of the epoch with which they go on."""
        found = {path: re.fullmatch(r"(\d+)\.weights\.h5", path.name) for path in Path(self.backup_dir).glob("*.h5")}
        return {int(match[1]): path for path, match in found.items() if match}
