"""Freezing and unfreezing inside one `fit`."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import difflr
from benchmarks.twelve_checks import effects
from benchmarks.twelve_checks.check import FAILED, PASSED, PLAIN, Check, Outcome
from benchmarks.twelve_checks.targets import multi

RATE = 0.01
MOMENTUM = 0.9


class Flag(keras.callbacks.Callback):
    """Sets `trainable` of `body` at the beginning of epochs, as one does between two calls of `fit`.

    Args:
        trainable: In which epochs `body` is to train.
        new_step: Whether Keras is told to build its training step anew.
    """

    def __init__(self, trainable: tuple[int, ...], new_step: bool = False):
        super().__init__()
        self.trainable = trainable
        self.new_step = new_step

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        body = self.model.get_layer("body")
        if body.trainable != (epoch in self.trainable):
            body.trainable = epoch in self.trainable
            if self.new_step:
                self.model.make_train_function(force=True)


class RateOfBody(keras.callbacks.Callback):
    """Sets the rate of the optimizer that has `body` to 0 and back.

    Args:
        trainable: In which epochs `body` is to train.
    """

    def __init__(self, trainable: tuple[int, ...]):
        super().__init__()
        self.trainable = trainable

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.optimizers[0].learning_rate = RATE if epoch in self.trainable else 0.0


def stock(model: keras.Model) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(RATE, momentum=MOMENTUM)


def stock_for_all(model: keras.Model) -> keras.optimizers.Optimizer:
    """Built while everything is trainable, so that it knows all variables."""
    optimizer = stock(model)
    optimizer.build(model.trainable_variables)
    return optimizer


def two(model: keras.Model) -> keras.optimizers.Optimizer:
    return multi(stock(model), {"body/.*|dense/.*|norm/.*": stock(model)})


def ours(model: keras.Model) -> keras.optimizers.Optimizer:
    return difflr.optimizers.SGD(RATE, momentum=MOMENTUM)


def phases(*trainable: str) -> difflr.PhaseScheduler:
    """An epoch for each."""
    last = len(trainable) - 1
    return difflr.PhaseScheduler(
        [difflr.Phase(each, epochs=None if place == last else 1) for place, each in enumerate(trainable)]
    )


# -- freezing ---------------------------------------------------------------------------------------------------------


def freeze_trial(make: Callable[[keras.Model], Any], callback: Callable[[], Any]) -> Outcome:
    inputs, inner = keras.Input((3,)), keras.Input((3,))
    normalized = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(4, name="dense")(inner))
    body = keras.Model(inner, normalized, name="body")
    model = keras.Model(inputs, keras.layers.Dense(effects.UNITS, name="head")(body(inputs)))
    model.compile(make(model), loss=effects.mean_output)
    moves = effects.Moves(("body", "head"))
    x = np.random.default_rng(0).normal(size=effects.X.shape)  # for the statistics
    model.fit(x, effects.Y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[callback(), moves])
    trainable, frozen = moves.moves
    right = trainable["body"] > 0 and frozen["body"] == 0 and frozen["head"] > 0
    seen = f"body moved {trainable['body']:.2g}, then {frozen['body']:.2g} (asked 0); head moved on by {frozen['head']:.2g}"
    return Outcome(PASSED if right else FAILED, seen)


FREEZE = Check(
    "Freezing in the middle of `fit`",
    "`body`, `Dense` and `BatchNormalization`, trains in the first epoch and is frozen in the second: its weights and "
    "moving statistics should stay while the head trains.",
    freeze_trial,
    keras={
        PLAIN: {"make": stock, "callback": lambda: Flag(trainable=(0,))},
        "and `make_train_function(force=True)`": {"make": stock, "callback": lambda: Flag((0,), new_step=True)},
        "a rate of 0 in a `MultiOptimizer`": {"make": two, "callback": lambda: RateOfBody(trainable=(0,))},
    },
    difflr={PLAIN: {"make": ours, "callback": lambda: phases("*", "head")}},
)


# -- unfreezing ----------------------------------------------------------------------------------------------------------


def momentum_moves(epochs: int) -> list[float]:
    """How far SGD with momentum goes in each epoch, under a gradient that stays the same."""
    velocity, moves = 0.0, []
    for _ in range(epochs):
        moved = 0.0
        for _ in range(effects.STEPS):
            velocity = MOMENTUM * velocity + RATE
            moved += velocity
        moves.append(moved / effects.STEPS)
    return moves


def thaw_trial(make: Callable[[keras.Model], Any], callback: Callable[[], Any]) -> Outcome:
    epochs = effects.epochs_of(lambda model: model.compile(make(model), loss=effects.mean_output), 4, [callback()])
    head = momentum_moves(4)
    first, second = momentum_moves(2)
    asked = [{"body": b, "head": h} for b, h in zip([0.0, first, 0.0, second], head, strict=True)]
    right = all(abs(got[n] - want[n]) <= 0.01 * want[n] for got, want in zip(epochs, asked, strict=True) for n in want)
    seen = "; ".join(
        f"{name} in each epoch {', '.join(f'{each[name]:.3g}' for each in epochs)}, "
        f"asked {', '.join(f'{each[name]:.3g}' for each in asked)}"
        for name in ("body", "head")
    )
    return Outcome(PASSED if right else FAILED, seen)


THAW = Check(
    "Unfreezing in the middle of `fit`, momenta kept",
    "SGD with momentum, one `fit`, an epoch each: the head, everything, the head, everything. The head should train as if "
    "nothing had changed, the body continue with the momentum it had when it was frozen.",
    thaw_trial,
    keras={
        PLAIN: {"make": stock, "callback": lambda: Flag(trainable=(1, 3))},
        "an optimizer built for all variables first, and `make_train_function(force=True)`": {
            "make": stock_for_all,
            "callback": lambda: Flag((1, 3), new_step=True),
        },
        "a rate of 0 in a `MultiOptimizer`": {"make": two, "callback": lambda: RateOfBody(trainable=(1, 3))},
    },
    difflr={PLAIN: {"make": ours, "callback": lambda: phases("head", "*", "head", "*")}},
)
