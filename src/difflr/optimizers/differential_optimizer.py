"""The differential optimizer: the Keras optimizer it is named after, with a rate per group of variables."""

import inspect
from collections.abc import Mapping
from typing import Any

from difflr.checks import checked_option, shown
from difflr.optimizers import torch_passes
from difflr.optimizers.groups import EFFECTIVE_RATE
from difflr.optimizers.multipliers_argument import MultipliersArgument
from difflr.optimizers.saved_optimizer import SavedOptimizer
from difflr.plan import Plan, Rule
from difflr.signatures import with_nearest_argument

FOLLOWS = (EFFECTIVE_RATE, "base_rate")

_REPLAN = "Replace the whole plan by difflr.replan(model, plan)"
_HOW_TO_SET = {
    "lr": "Set `learning_rate`.",
    "multiplier": "Set one of `optimizer.multipliers`, which is a mapping.",
    "multipliers": f"Set single ones, as in optimizer.multipliers[layer] = 0.5. {_REPLAN}.",
    "hyperparameters": f"Set single ones, as in optimizer.hyperparameters['momentum'][layer] = 0.8. {_REPLAN}.",
    "plan": f"{_REPLAN}.",
}


class DifferentialOptimizer(SavedOptimizer):
    """Gives a Keras optimizer a learning rate per variable; everything else is that optimizer.

    `optimizer.learning_rate` is the base rate: callbacks and schedules change it and keep the ratios. The rate of a
    variable is the base rate times its multiplier (times its group's schedule). Variables that the plan freezes get
    `trainable = False`: no gradient, no optimizer state, no part in a clip norm. With all multipliers 1 it trains bit
    for bit (see `fused`) like the optimizer it is named after.

    Args:
        multipliers: A `difflr.Plan`; a mapping (or list of pairs) from layers or variables to numbers or
            other values of a rule; one number for all; a function `variable -> number`; or `None`, the default: the
            multipliers that layers declare (`difflr.layers`), 1 elsewhere.
        weight_decay_follows: The factor on decoupled weight decay: `"effective_rate"`, the default (a variable
            at a tenth of the rate decays a tenth as fast, as in `torch.optim.AdamW`), or `"base_rate"` (all
            variables decay at the same rate, as in big_vision).
        fused: On torch, whether Adam, AdamW, Adagrad and SGD with momentum use torch's fused kernels: several times
            faster, equal to the stock optimizer within rounding (about 1e-6 relative over 100 steps). `False`: bit for bit
            the stock optimizer. It has no effect on other optimizers, JAX and TensorFlow.

    Raises:
        ValueError: If a multiplier is not a finite number >= 0, or an option is invalid; on build, if the plan does not
            cover the variables.
        TypeError: If `multipliers` has an unknown form.

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

    VECTORIZED_STEPS = torch_passes.NAMES
    HOW_TO_SET = _HOW_TO_SET

    def __init__(
        self,
        *args: Any,
        multipliers: Any = None,
        weight_decay_follows: str = EFFECTIVE_RATE,
        fused: bool = True,
        **kwargs: Any,
    ):
        _check_is_no_plan(type(self), args, kwargs)
        checked_option(weight_decay_follows, "weight_decay_follows", FOLLOWS)
        checked_option(fused, "fused", (True, False))
        argument = MultipliersArgument(multipliers)
        try:
            super().__init__(*args, argument=argument, **kwargs)
        except (TypeError, ValueError) as error:
            known = inspect.signature(type(self)).parameters
            raise with_nearest_argument(error, kwargs, known) from None
        self.weight_decay_follows = weight_decay_follows
        self.fused = fused
        self.callback_state: dict[str, Any] = {}  # of callbacks, saved with the optimizer
        self.callback_arrays: dict[str, Any] = {}


def _check_is_no_plan(cls: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Checks that rules are not taken for a learning rate or a beta.

    Raises:
        TypeError: If a plan or a mapping is among the arguments of the Keras optimizer.
    """
    named = dict(zip(inspect.signature(cls).parameters, args, strict=False))
    named |= {name: value for name, value in kwargs.items() if name == "learning_rate"}
    for name, value in named.items():
        if isinstance(value, (Plan, Rule, Mapping)):
            raise TypeError(
                f"Plans and rules are given by name: {cls.__name__}(1e-3, multipliers=...). Received as `{name}`: "
                f"{shown(value)} (of type {type(value).__name__})."
            )
