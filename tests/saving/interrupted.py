"""A run of `fit` that is interrupted and taken up again from its backup, in this process or in another."""

import keras
import numpy as np
from keras import layers

from difflr import FROZEN, Plan, optimizers

EPOCHS = 5
X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(12, 2)).astype("float32")
BATCH = 4  # three batches an epoch


def model():
    inputs = keras.Input((4,))
    x = layers.Dense(4, name="one")(inputs)
    x = layers.Dense(4, name="two")(x)
    result = keras.Model(inputs, layers.Dense(2, name="head")(x))
    plan = Plan(result, {"one": 0.1, "two": 0.5, "two/bias": FROZEN, "head": 2.0})
    result.compile(optimizers.AdamW(0.02, weight_decay=0.1, multipliers=plan), loss="mse")
    result.set_weights([np.random.default_rng(7).normal(size=w.shape).astype("float32") for w in result.get_weights()])
    return result


class Unfreeze(keras.callbacks.Callback):
    """Changes a multiplier and the rate in the second epoch, once."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.optimizer.multipliers[self.model.get_layer("one")] = 0.3
            self.model.optimizer.learning_rate = 0.01


class Interrupt(keras.callbacks.Callback):
    """Ends the run in the fourth epoch, at its beginning or after its second batch."""

    def __init__(self, batch=None):
        super().__init__()
        self.batch = batch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        if epoch == 3 and self.batch is None:
            raise KeyboardInterrupt

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 3 and batch == self.batch:
            raise KeyboardInterrupt


def run(model, *callbacks, epochs=EPOCHS, **arguments):
    model.fit(
        X, Y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, callbacks=[Unfreeze(), *callbacks], **arguments
    )


def backup(folder, save_freq="epoch"):
    return keras.callbacks.BackupAndRestore(folder, save_freq=save_freq)


def run_stock(model):
    """One epoch without the callback that speaks of multipliers."""
    model.fit(X, Y, batch_size=BATCH, shuffle=False, verbose=0)
