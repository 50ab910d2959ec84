"""A run in phases that is interrupted and taken up again, in this process or (as a script) in another."""

import contextlib
import sys
from pathlib import Path

import keras
import numpy as np

import difflr
from difflr import Phase
from difflr.schedules import OneCycle
from phases.in_phases import BATCH, X, Y, number

EPOCHS = 7
EAGERLY = keras.backend.backend() == "tensorflow"  # which takes seconds to trace each phase
PHASES = {
    "epochs": [
        Phase("head", epochs=2),
        Phase("low", epochs=1, warmup_steps=2),
        Phase(["head", "mid"], epochs=2, warmup_steps=4),
        Phase("*", warmup_steps=4),
    ],
    "steps": [Phase("head", steps=4), Phase(["head", "mid"], steps=7, warmup_steps=3), Phase("*")],
    "plateau": [
        Phase("head", monitor="val_loss", min_delta=10, patience=1),
        Phase(["head", "mid"], monitor="loss", min_delta=10, patience=2),
        Phase("*", epochs=2),
    ],
    "rates": [
        Phase("head", epochs=2, learning_rate=0.05, multipliers={"head": OneCycle(1.0, 6)}),
        Phase(
            ["head", "mid"],
            monitor="val_loss",
            min_delta=10,
            patience=2,
            restore_best=True,
            multipliers={"head": 0.25, "mid": {"weight_decay_multiplier": 0.5}},
        ),
        Phase("*", learning_rate=0.02, schedule=OneCycle(1.0, 6)),
    ],
    "functions": [
        Phase("head", until=lambda epoch, logs: epoch == 1, multipliers={"head": 0.5}),
        Phase(["head", "mid"], monitor="loss", threshold=100, epochs=3),
        Phase("*"),
    ],
}
MODELS = ("functional", "with_statistics", "difflr_with_statistics", "half")


def new_model(kind="functional"):
    """A model that is compiled; `statistics`: a BatchNormalization with and one without variables to train."""
    with policy_of(kind):
        return _new_model(difflr.Model if kind.startswith("difflr") else keras.Model, kind)


@contextlib.contextmanager
def policy_of(kind):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if kind == "half" else "float32")
    yield
    keras.config.set_dtype_policy(before)


def _new_model(cls, kind):
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, activation="tanh", name="low")(inputs)
    if kind.endswith("statistics"):
        x = keras.layers.BatchNormalization(name="norm", momentum=0.5)(x)
    x = keras.layers.Dense(4, activation="tanh", name="mid")(x)
    if kind.endswith("statistics"):
        x = keras.layers.BatchNormalization(name="bare", momentum=0.5, scale=False, center=False)(x)
    model = cls(inputs, keras.layers.Dense(2, name="head", dtype="float32")(x))
    numbers = np.random.default_rng(7)
    model.set_weights([0.5 + 0.2 * numbers.uniform(size=weight.shape) for weight in model.get_weights()])
    plan = difflr.Plan(model, {"low": 0.1, "mid": 0.5, "low/bias": difflr.FROZEN})
    model.compile(difflr.optimizers.AdamW(0.02, multipliers=plan), loss="mse", run_eagerly=EAGERLY)
    return model


def phases_of(name, kind):
    phases = PHASES[name]
    if kind.endswith("statistics"):  # they join with `mid`
        phases = [Phase([*p.trainable, "norm"], **_more(p)) if "mid" in p.trainable else p for p in phases]
    return phases


def _more(phase):
    return {name: value for name, value in vars(phase).items() if name not in ("trainable", "mode")}


class Interrupt(keras.callbacks.Callback):
    """Ends the run at the beginning of an epoch, or after one of its batches."""

    def __init__(self, epoch, batch=None):
        super().__init__()
        self.at = (epoch, batch)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if self.at == (epoch, None):
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.at == (self.epoch, batch):
            raise KeyboardInterrupt


def run(model, phases, *callbacks, scheduler_last=False, **arguments):
    scheduler = difflr.PhaseScheduler(phases)
    callbacks = [*callbacks, scheduler] if scheduler_last else [scheduler, *callbacks]
    arguments = {"epochs": EPOCHS, "batch_size": BATCH, "shuffle": False, "verbose": 0, **arguments}
    if any("val_" in (phase.monitor or "") for phase in phases):
        arguments["validation_data"] = (X, Y)
    return model.fit(X, Y, callbacks=callbacks, **arguments)


def state(model):
    """Every number that a later step depends on."""
    return [number(variable) for variable in [*model.variables, *model.optimizer.variables]]


def main(folder, name, kind, epoch):
    """Takes up `folder/model.keras`, trains to the end, writes down what comes of it."""
    model = keras.saving.load_model(folder / "model.keras")
    run(model, phases_of(name, kind), initial_epoch=int(epoch))
    np.savez(folder / "state.npz", *state(model))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
