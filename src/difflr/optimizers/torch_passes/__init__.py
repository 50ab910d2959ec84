"""torch: one pass over all variables, each with its own rate, whatever the number of groups.

In the order in which data flows: `step` holds what is common to a step; `fused` and `exact` are the two ways to take it.
"""

from collections.abc import Sequence

import keras

from difflr.optimizers.groups import Groups
from difflr.optimizers.torch_passes import exact, fused
from difflr.optimizers.torch_passes.step import Step, Tensor

NAMES = frozenset(exact.PASSES)


def run(
    name: str,
    optimizer: keras.optimizers.Optimizer,
    groups: Groups,
    variables: Sequence[keras.Variable],
    grads: list[Tensor],
    learning_rate: Tensor,
    is_last: bool = True,
) -> None:
    """Decays and updates `variables` in place.

    Args:
        name: Which of Keras's vectorised optimizers, one of `NAMES`.
        optimizer: The optimizer; its settings and its state are read from it.
        groups: Its groups.
        variables: Keras variables.
        grads: Their gradients, torch tensors.
        learning_rate: The base rate, a scalar.
        is_last: Whether no other variables follow in this step.
    """
    step = Step(name, optimizer, groups, variables, grads, learning_rate, is_last)
    chosen = fused if optimizer.fused and fused.fits(name, step) else exact
    chosen.PASSES[name](step)
