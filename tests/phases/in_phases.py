"""A small model trained in phases, and what is said about it."""

import keras
import numpy as np
from keras import layers

import difflr

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")
BATCH = 4  # three batches an epoch
NAMES = ("low", "mid", "head")


def new_model(cls=keras.Model):
    inputs = keras.Input((4,))
    x = layers.Dense(4, activation="tanh", name="low")(inputs)
    x = layers.Dense(4, activation="tanh", name="mid")(x)
    model = cls(inputs, layers.Dense(2, name="head")(x))
    numbers = np.random.default_rng(7)
    model.set_weights([0.5 * numbers.normal(size=weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def compiled(optimizer=None, cls=keras.Model, **arguments):
    model = new_model(cls)
    optimizer = optimizer or difflr.optimizers.Adam(0.01, multipliers=difflr.Plan(model, {"low": 0.1, "mid": 0.5}))
    model.compile(optimizer, loss="mse", **arguments)
    return model


def fit(model, phases=None, callbacks=(), epochs=4, **arguments):
    if phases is not None:
        callbacks = [phases if isinstance(phases, difflr.PhaseScheduler) else difflr.PhaseScheduler(phases), *callbacks]
    arguments = {"verbose": 0, "shuffle": False, "batch_size": BATCH, **arguments}
    return model.fit(X, Y, epochs=epochs, callbacks=list(callbacks), **arguments)


def number(variable):
    return np.array(keras.ops.convert_to_numpy(variable))


class Weights(keras.callbacks.Callback):
    """The kernels of all layers, before training and after each epoch."""

    def __init__(self):
        super().__init__()
        self.kernels = []

    def _note(self):
        self.kernels.append({name: number(self.model.get_layer(name).kernel) for name in NAMES})

    def on_train_begin(self, logs=None):
        self._note()

    def on_epoch_end(self, epoch, logs=None):
        self._note()

    @property
    def moved(self):
        """For each epoch the layers that moved."""
        pairs = zip(self.kernels, self.kernels[1:], strict=False)
        return [{name for name in NAMES if not np.array_equal(a[name], b[name])} for a, b in pairs]


def state(model):
    """Every number that a later step depends on."""
    return [number(v) for v in [*model.variables, *model.optimizer.variables]]


def assert_same(mine, other):
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        np.testing.assert_array_equal(a, b)
