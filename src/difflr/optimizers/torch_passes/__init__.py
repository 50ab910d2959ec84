"""torch: one update of all variables, each at its own rate, however many groups there are.

`step` holds what all variables share in a step; `fused` and `exact` are two ways to compute the update.
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
        name: The Keras optimizer whose vectorised update to compute, one of `NAMES`.
        optimizer: The optimizer, for its settings and state.
        groups: Its groups.
        variables: Keras variables.
        grads: Their gradients, torch tensors.
        learning_rate: The base rate, a scalar.
        is_last: Whether these are the last variables of this step.
    """
    step = Step(name, optimizer, groups, variables, grads, learning_rate, is_last)
    chosen = fused if optimizer.fused and fused.fits(name, step) else exact
    chosen.PASSES[name](step)
