"""torch: one pass over all variables, each with its own rate, whatever the number of groups.

In the order in which data flows: `step` holds what is common to a step; `fused` and `exact` are the two ways to take it.
"""

from typing import Any

from difflr.optimizers.torch_passes import exact, fused
from difflr.optimizers.torch_passes.step import Step


def run(name: str, optimizer: Any, variables: list[Any], grads: list[Any], learning_rate: Any) -> None:
    """Decays and updates `variables` in place.

    Args:
        name: Which of Keras's vectorised optimizers.
        optimizer: The optimizer; its hyperparameters, groups and state are read from it.
        variables: Keras variables.
        grads: Their gradients, torch tensors.
        learning_rate: The base rate, a scalar.
    """
    step = Step(optimizer, variables, grads, learning_rate)
    chosen: Any = fused if optimizer.fused and fused.fits(name, step) else exact
    chosen.PASSES[name](step)
