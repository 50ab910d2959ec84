"""Whole training steps: `fit` on equal dense blocks and on small networks."""

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

import difflr
from benchmarks import models, settings

BATCH = 32


@dataclass
class Fitted:
    """A compiled network: `run(epochs)` trains it.

    Args:
        run: Trains for a number of epochs.
        groups: How many groups of variables its plan has; 1 without a plan.
        parameters: How many numbers it trains.
    """

    run: Callable[[int], None]
    groups: int
    parameters: int


def epochs_of(model: keras.Model, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    """Trains for a number of epochs; each ends with the loss read, so that nothing is left running."""

    def run(epochs: int) -> None:
        model.fit(x, y, batch_size=BATCH, epochs=epochs, shuffle=False, verbose=0)

    return run


def frozen_blocks(frozen: int, by_plan: bool, steps: int, width: int = 512) -> Callable[[int], None]:
    """Equal dense blocks, the first ones frozen, by a plan or by hand; the others one group each, or one rate."""
    model = models.dense_blocks(width)
    if by_plan:
        rules = {f"block_{i}": difflr.FROZEN for i in range(frozen)}
        rules |= {f"block_{i}": number for i, number in enumerate(models.multipliers(settings.BLOCKS)) if i >= frozen}
        optimizer = difflr.optimizers.AdamW(1e-3, multipliers=difflr.Plan(model, rules))
    else:
        for layer in model.layers[:frozen]:
            layer.trainable = False
        optimizer = keras.optimizers.AdamW(1e-3)
    model.compile(optimizer, loss="mse")
    x = np.random.default_rng(3).normal(size=(steps * BATCH, width)).astype("float32")
    return epochs_of(model, x, x)


def network(name: str, with_plan: bool, steps: int) -> Fitted:
    """A small network, compiled with stock AdamW, or with one group for each layer that has weights."""
    model = models.NETWORKS[name]()
    if with_plan:
        layers = [layer for layer in model.layers if layer.trainable_variables]
        rules = list(zip(layers, models.multipliers(len(layers)), strict=True))
        plan = difflr.Plan(model, rules)
        optimizer, groups = difflr.optimizers.AdamW(1e-3, multipliers=plan), len(plan.groups)
    else:
        optimizer, groups = keras.optimizers.AdamW(1e-3), 1
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    run = epochs_of(model, *models.data_for(model, steps * BATCH))
    return Fitted(run, groups, sum(int(np.prod(v.shape)) for v in model.trainable_variables))
