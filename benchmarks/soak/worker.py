"""One long `fit` in this process: a line of JSON for each epoch.

`python -m benchmarks.soak.worker SECONDS FILE`, with `KERAS_BACKEND` set.
"""

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path

import keras
import numpy as np

import difflr
from benchmarks import measure

NUM_BLOCKS, UNITS, CLASSES = 6, 64, 5
EXAMPLES, BATCH = 4096, 32
EPOCHS_PER_PHASE = 12
# In turn, for ever: freezing and unfreezing again, with all state kept.
TRAINABLE = {"head": "head", "upper half": ["head", "block4", "block5", "block6"], "everything": "*"}


class Recorder(keras.callbacks.Callback):
    """Writes down memory and processor time, and ends the run when its time is up."""

    def __init__(self, seconds, least, file):
        super().__init__()
        self.end, self.least, self.file = time.monotonic() + seconds, least, file
        self.began = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        self.steps_began = self.steps = None

    def on_train_batch_begin(self, batch, logs=None):
        if self.steps_began is None and batch > 1:  # a new step is compiled in the first batch of a phase
            self.steps_began, self.first = time.process_time(), batch

    def on_train_batch_end(self, batch, logs=None):
        self.steps_ended, self.steps = time.process_time(), batch + 1

    def on_epoch_end(self, epoch, logs=None):
        name = list(TRAINABLE)[epoch // EPOCHS_PER_PHASE % len(TRAINABLE)]
        line = {
            "epoch": epoch,
            "minutes": (time.monotonic() - self.began) / 60,
            "trainable": name,
            "first": epoch % EPOCHS_PER_PHASE == 0,
            "resident_bytes": measure.resident_bytes(),
            "step_seconds": (self.steps_ended - self.steps_began) / (self.steps - self.first),
            "steps": self.steps,
            "loss": float(logs["loss"]),
        }
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        self.model.stop_training = time.monotonic() > self.end and epoch + 1 >= self.least


def model_and_data():
    keras.utils.set_random_seed(0)
    blocks = [
        layer
        for number in range(1, NUM_BLOCKS + 1)
        for layer in (
            keras.layers.Dense(UNITS, activation="relu", name=f"block{number}"),
            keras.layers.BatchNormalization(name=f"norm{number}"),
        )
    ]
    model = keras.Sequential([keras.Input((32,)), *blocks, keras.layers.Dense(CLASSES, name="head")])
    random = np.random.default_rng(0)
    x = random.normal(size=(EXAMPLES, 32)).astype("float32")
    return model, x, random.integers(0, CLASSES, EXAMPLES)


def main(seconds, path, least=0):
    """Trains for so many seconds, and at least so many epochs."""
    model, x, y = model_and_data()
    plan = difflr.Plan(model, {f"block{number}": 0.8 ** (NUM_BLOCKS - number) for number in range(1, NUM_BLOCKS)})
    optimizer = difflr.optimizers.AdamW(1e-4, weight_decay=0.01, global_clipnorm=1.0, multipliers=plan)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss=loss, metrics=["accuracy"])
    turns = max(least, int(seconds)) // len(TRAINABLE) + 1  # more than there is time for: the recorder ends the run
    phases = [
        difflr.Phase(trainable, epochs=EPOCHS_PER_PHASE) for _ in range(turns) for trainable in TRAINABLE.values()
    ]
    with tempfile.TemporaryDirectory() as folder, Path(path).open("w") as file:
        callbacks = [
            difflr.PhaseScheduler(phases),
            difflr.GroupLogger(),
            keras.callbacks.CSVLogger(f"{folder}/log.csv"),
            keras.callbacks.ModelCheckpoint(f"{folder}/best.keras", monitor="loss", save_best_only=True),
            keras.callbacks.BackupAndRestore(f"{folder}/backup"),
            Recorder(seconds, least, file),
        ]
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="A callback such as EarlyStopping ended"
            )  # by the clock, on purpose
            model.fit(x, y, batch_size=BATCH, epochs=len(phases) * EPOCHS_PER_PHASE, verbose=0, callbacks=callbacks)


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2])
