"""torch: one update of all variables, each at its own rate, however many groups there are.

`step` holds what all variables share in a step; `fused` and `exact` are two ways to compute the update.
"""

from difflr.optimizers.torch_passes import exact, fused
from difflr.optimizers.torch_passes.step import Step

NAMES = frozenset(exact.PASSES)


def run(step: Step) -> None:
    """Decays and updates the variables of a step in place.

    Args:
        step: The step.
    """
    chosen = fused if step.optimizer.fused and fused.fits(step) else exact
    chosen.PASSES[step.name](step)
