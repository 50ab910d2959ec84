"""The differential optimizer: the Keras optimizer it is named after, with a rate per group of variables."""

from typing import Any

from difflr.checks import shown
from difflr.optimizers import torch_passes
from difflr.optimizers.groups import EFFECTIVE_RATE
from difflr.optimizers.multipliers_argument import MultipliersArgument
from difflr.optimizers.saved_optimizer import SavedOptimizer

FOLLOWS = (EFFECTIVE_RATE, "base_rate")


class DifferentialOptimizer(SavedOptimizer):
    """Gives a Keras optimizer a learning rate per variable; everything else is that optimizer.

    `optimizer.learning_rate` is the base rate: callbacks and schedules change it, and the ratios stay. The rate of a
    variable is the base rate times its multiplier (times its group's schedule). Variables that the plan freezes get
    `trainable = False`: no gradient, no optimizer state, no part in a clip norm. With all multipliers 1 it is, bit
    for bit (see `fused`), the optimizer it is named after.

    Args:
        multipliers: Who gets what. A `difflr.Plan`; a mapping (or list of pairs) from layers or variables to numbers or
            other values of a rule; one number for all; a function `variable -> number`; or `None`, the default: what
            the layers declare (`difflr.layers`), 1 elsewhere.
        weight_decay_follows: What decoupled weight decay is multiplied by: `"effective_rate"`, the default (a variable
            at a tenth of the rate decays a tenth as fast, as in `torch.optim.AdamW`), or `"base_rate"` (it decays
            alike at every rate, as in big_vision).
        fused: On torch, whether Adam, AdamW, Adagrad and SGD with momentum use torch's fused kernels: several times
            faster, and equal to the stock optimizer within rounding (about 1e-6 relatively over 100 steps). `False`: bit
            for bit the stock optimizer. Nothing else has fused kernels, nor do JAX and TensorFlow, which compile the
            step.

    Raises:
        ValueError: If a multiplier is negative, not finite or no number, or an option is none of those named; on build,
            if the plan does not cover the variables.
        TypeError: If `multipliers` is of no known form.

    Example:

    ```python
    import keras
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    plan = difflr.Plan(model, {"body": 0.1})
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=plan), loss="mse")
    ```

    Reference: the original request's `v = momentum * m - lr * multiplier * g`; Caffe's `local_rate = rate * lr_mult`
    (`sgd_solver.cpp`).
    """

    VECTORISED_STEPS = torch_passes.NAMES

    def __init__(
        self,
        *args: Any,
        multipliers: Any = None,
        weight_decay_follows: str = EFFECTIVE_RATE,
        fused: bool = True,
        **kwargs: Any,
    ):
        if weight_decay_follows not in FOLLOWS:
            raise ValueError(
                f"`weight_decay_follows` must be 'effective_rate' or 'base_rate'. Received: {shown(weight_decay_follows)}."
            )
        if not isinstance(fused, bool):
            raise ValueError(f"`fused` must be True or False. Received: {shown(fused)}.")
        super().__init__(*args, argument=MultipliersArgument(multipliers), **kwargs)
        self.weight_decay_follows = weight_decay_follows
        self.fused = fused
        self.callback_state: dict[str, Any] = {}  # what callbacks keep, saved with the state
        self.callback_arrays: dict[str, Any] = {}
