"""What variables get that join the training later than others: a warm-up, and counts of their own."""

import dataclasses
from typing import Any

import keras

from difflr import keras_private


@dataclasses.dataclass(frozen=True)
class LateStart:
    """When a variable joined the training.

    The rate rises linearly from `1 / warmup_steps` to 1 after joining.

    Adam corrects the bias of its moments by the step `t` of the whole optimizer; the moments of a variable that joined
    late have seen `t - behind` gradients only. As Keras's Adam applies both corrections to its rate,
    `sqrt(1 - beta_2^t) / (1 - beta_1^t)`, another factor on the rate makes them exact. Without it the first step of such
    a variable is 3 times too far (`0.1 / sqrt(0.001)`). It is on the rate only, not on the weight decay.

    Args:
        joined_at: Integer, the optimizer's step at which the variable joined.
        warmup_steps: Integer, the length of the warm-up; 0 for none.
        behind: Integer, how many gradients fewer than the optimizer's its state has seen.

    Reference: Kingma and Ba, "Adam", 2015, section 2 (the factor on the rate) and 7.1 (Adamax). `torch.optim.Adam`
    keeps a step for each parameter.
    """

    joined_at: int = 0
    warmup_steps: int = 0
    behind: int = 0

    def with_effect(self, optimizer: keras.optimizers.Optimizer) -> "LateStart":
        """The same without what has no effect, so that variables which are treated alike are one group.

        Args:
            optimizer: The optimizer.
        """
        corrects = keras_private.bias_correction(optimizer) is not None
        return LateStart(self.joined_at if self.warmup_steps else 0, self.warmup_steps, self.behind if corrects else 0)

    def factor(self, updates: Any, betas: tuple[Any, Any] | None, for_decay: bool = False) -> Any:
        """The factor on the rate at this step, a scalar tensor; 1.0 where it is that at all times.

        Args:
            updates: How many updates the optimizer has made, a scalar tensor.
            betas: What `keras_private.bias_correction` says of the optimizer.
            for_decay: Whether it is for the weight decay.
        """
        factor: Any = 1.0
        if self.warmup_steps:
            factor = keras.ops.minimum((updates - self.joined_at + 1.0) / self.warmup_steps, 1.0)
        if self.behind and betas is not None and not for_decay:
            factor = factor * _correction(updates + 1.0 - self.behind, *betas) / _correction(updates + 1.0, *betas)
        return factor


def _correction(step: Any, beta_1: float, beta_2: float | None) -> Any:
    """Adam's factor on the rate; without `beta_2` that of Adamax."""
    correction = 1.0 / (1.0 - keras.ops.power(keras.ops.cast(beta_1, step.dtype), step))
    if beta_2 is None:
        return correction
    return correction * keras.ops.sqrt(1.0 - keras.ops.power(keras.ops.cast(beta_2, step.dtype), step))
