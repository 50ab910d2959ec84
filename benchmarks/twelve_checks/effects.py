"""Models whose gradients are known, and how far their layers move."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

UNITS = 2
STEPS = 4  # of one epoch
BATCH = 8
X = np.ones((STEPS * BATCH, 3), "float32")
Y = np.zeros((STEPS * BATCH, UNITS), "float32")
GRADIENT = 1 / UNITS  # of every weight of `side_by_side`, at every step


def mean_output(y_true: Any, y_pred: Any) -> Any:
    """A loss whose gradient does not depend on the weights."""
    return keras.ops.mean(y_pred, axis=-1)


def no_gradient(y_true: Any, y_pred: Any) -> Any:
    """A loss that moves nothing."""
    return 0.0 * keras.ops.mean(y_pred, axis=-1)


def side_by_side() -> keras.Model:
    """The layers `body` and `head` next to each other: under `mean_output` each weight's gradient is `GRADIENT`."""
    inputs = keras.Input((X.shape[1],))
    return keras.Model(
        inputs, keras.layers.Add()([keras.layers.Dense(UNITS, name=n)(inputs) for n in ("body", "head")])
    )


def values(layer: keras.Layer) -> list[np.ndarray]:
    """All weights of a layer."""
    return [np.array(weight) for weight in layer.get_weights()]


def numbers(variables: list[Any]) -> list[np.ndarray]:
    """The values of variables."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def distance(before: list[np.ndarray], after: list[np.ndarray]) -> float:
    """How far a weight moved, on average over all weights of a layer."""
    return float(np.mean(np.concatenate([np.abs(b - a).ravel() for a, b in zip(before, after, strict=True)])))


def one_step(optimizer: Any, variables: list[Any], named: dict[str, list[Any]], size: float = 1.0) -> dict[str, float]:
    """Applies gradients that are `size` everywhere; name -> how far its variables moved, on average.

    Args:
        optimizer: Any optimizer.
        variables: All variables that are trained.
        named: Name -> the variables that it stands for.
        size: Of the gradients.
    """
    before = {name: numbers(its) for name, its in named.items()}
    optimizer.apply([size * keras.ops.ones(v.shape) for v in variables], variables)
    return {name: distance(before[name], numbers(its)) for name, its in named.items()}


def fit(model: keras.Model, epochs: int = 1, **arguments: Any) -> Any:
    """Trains on the data above."""
    return model.fit(X, Y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0, **arguments)


class Moves(keras.callbacks.Callback):
    """Notes how far each layer moves in each epoch, `moves[epoch][layer name]`."""

    def __init__(self, layers: tuple[str, ...]):
        super().__init__()
        self.layers = layers
        self.moves: list[dict[str, float]] = []

    def _now(self) -> dict[str, list[np.ndarray]]:
        return {name: values(self.model.get_layer(name)) for name in self.layers}

    def on_train_begin(self, logs: Any = None) -> None:
        self.last = self._now()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = self._now()
        self.moves.append({name: distance(self.last[name], now[name]) for name in now})
        self.last = now


def epochs_of(compile: Callable[[keras.Model], None], epochs: int, callbacks: Any = ()) -> list[dict[str, float]]:
    """How far `body` and `head` move in each epoch, in units of what a rate of 1 moves them without momentum.

    Args:
        compile: Compiles the model.
        epochs: How many.
        callbacks: Of `fit`.
    """
    model = side_by_side()
    compile(model)
    moves = Moves(("body", "head"))
    fit(model, epochs, callbacks=[*callbacks, moves])
    return [{name: moved / (STEPS * GRADIENT) for name, moved in each.items()} for each in moves.moves]
