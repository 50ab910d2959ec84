"""Norms of weights, updates and gradients, group by group."""

from collections.abc import Sequence

import keras
import numpy as np

from difflr.callbacks.measured_step import Measure, Moves, Tensor

MEASURES = ("update_ratio", "gradient_norm")


def norms(groups: Sequence[frozenset[int]]) -> Measure:
    """A measure: norm of the update over norm of the weights, and norm of the gradient, `(len(MEASURES), groups)`.

    Both are 0 for a group that does not train in the step, and NaN if the step applies no gradients. If all weights are 0
    before the update, like the biases of a new layer, the ratio is 1.

    Args:
        groups: For each group the identities of its variables.
    """

    def measure(moves: Moves) -> Tensor:
        if not moves:
            return keras.ops.full((len(MEASURES), len(groups)), np.nan)
        trained = [[move for key, move in moves.items() if key in group] for group in groups]
        updates = [_norm([_float(move.after) - _float(move.before) for move in members]) for members in trained]
        before = [_norm([move.before for move in members]) for members in trained]
        after = [_norm([move.after for move in members]) for members in trained]
        gradients = [_norm([move.gradient for move in members if move.gradient is not None]) for members in trained]
        ratios = _ratio(*map(keras.ops.stack, (updates, before, after)))
        return keras.ops.stack([ratios, keras.ops.stack(gradients)])

    return measure


def _ratio(update: Tensor, before: Tensor, after: Tensor) -> Tensor:
    weights = keras.ops.where(before > 0, before, after)
    return keras.ops.where(weights > 0, update / keras.ops.where(weights > 0, weights, 1.0), 0.0)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """The joint norm of several tensors; 0 for none."""
    squares = [keras.ops.sum(keras.ops.square(_float(tensor))) for tensor in tensors]
    return keras.ops.sqrt(sum(squares, keras.ops.zeros((), "float32")))


def _float(tensor: Tensor) -> Tensor:
    return keras.ops.cast(tensor, "float32")
