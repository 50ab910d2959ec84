"""Caffe's learning-rate policies as a Keras schedule."""

import itertools
import math
import numbers
from collections.abc import Iterable
from typing import Any

import keras

from difflr.checks import checked_option, wrong_type

POLICIES = {  # required arguments besides `base_lr`
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("max_iter", "power"),
    "sigmoid": ("gamma", "stepsize"),
}


@keras.saving.register_keras_serializable(package="difflr")
class CaffeSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of a Caffe solver with its `lr_policy`.

    Args:
        base_lr: Float >= 0.
        lr_policy: `"fixed"`, `"step"`, `"exp"`, `"inv"`, `"multistep"`, `"poly"` or `"sigmoid"`.
        gamma: Float >= 0.
        power: Float.
        stepsize: Integer > 0, in iterations.
        stepvalue: List of integers, in iterations.
        max_iter: Integer > 0. After it the rate of `"poly"` is 0.
        iter_size: Integer > 0. Batches per Caffe iteration; Keras counts batches.

    Raises:
        ValueError: If the policy is unknown, or a required number is missing or out of range.

    Example:

    ```python
    schedule = difflr.schedules.CaffeSchedule(0.01, "inv", gamma=1e-4, power=0.75)
    optimizer = keras.optimizers.SGD(schedule, momentum=0.9)
    ```

    Reference: `GetLearningRate` in Caffe's `sgd_solver.cpp`.
    """

    def __init__(
        self,
        base_lr: float,
        lr_policy: str,
        gamma: float = 0.0,
        power: float = 0.0,
        stepsize: int = 0,
        stepvalue: Any = (),
        max_iter: int = 0,
        iter_size: int = 1,
    ):
        checked_option(lr_policy, "lr_policy", POLICIES)
        if isinstance(stepvalue, str) or not isinstance(stepvalue, Iterable):
            raise wrong_type("`stepvalue`", "a list of integers", stepvalue)
        self._numbers = {
            "gamma": float(gamma),
            "power": float(power),
            "stepsize": int(stepsize),
            "stepvalue": [int(value) for value in stepvalue],
            "max_iter": int(max_iter),
        }
        for name, value, lowest in (
            ("base_lr", base_lr, 0),
            ("gamma", gamma, 0),
            ("stepsize", stepsize, 1),
            ("max_iter", max_iter, 1),
            ("iter_size", iter_size, 1),
        ):
            needed = name in POLICIES[lr_policy] or name in ("base_lr", "iter_size")
            if needed and not (isinstance(value, numbers.Real) and lowest <= value < math.inf):
                raise ValueError(f"`{name}` must be a number >= {lowest} for '{lr_policy}'. Received: {value!r}.")
        self.base_lr, self.lr_policy, self.iter_size = float(base_lr), lr_policy, int(iter_size)

    def __call__(self, step: Any) -> Any:  # noqa: D102 - as in Keras
        iteration = keras.ops.floor_divide(keras.ops.cast(step, "int32"), self.iter_size)
        return self.base_lr * getattr(self, f"_{self.lr_policy}")(iteration, **self._numbers)

    def _fixed(self, iteration: Any, **_: Any) -> Any:
        return keras.ops.ones_like(_float(iteration))

    def _step(self, iteration: Any, gamma: float, stepsize: int, **_: Any) -> Any:
        return _power(gamma, _float(keras.ops.floor_divide(iteration, stepsize)))

    def _exp(self, iteration: Any, gamma: float, **_: Any) -> Any:
        return _power(gamma, _float(iteration))

    def _inv(self, iteration: Any, gamma: float, power: float, **_: Any) -> Any:
        return keras.ops.power(1 + gamma * _float(iteration), -power)

    def _multistep(self, iteration: Any, gamma: float, stepvalue: list[int], **_: Any) -> Any:
        # Caffe advances by at most one step value per iteration, in any order.
        passed = itertools.accumulate(stepvalue, lambda before, value: max(before + 1, value))
        return _power(gamma, sum((_float(iteration >= value) for value in passed), 0 * _float(iteration)))

    def _poly(self, iteration: Any, power: float, max_iter: int, **_: Any) -> Any:
        return keras.ops.power(_float(keras.ops.maximum(max_iter - iteration, 0)) / max_iter, power)

    def _sigmoid(self, iteration: Any, gamma: float, stepsize: int, **_: Any) -> Any:
        return keras.ops.sigmoid(gamma * _float(iteration - stepsize))

    def get_config(self) -> dict[str, Any]:
        """The arguments."""
        return {"base_lr": self.base_lr, "lr_policy": self.lr_policy, "iter_size": self.iter_size, **self._numbers}


def _float(number: Any) -> Any:
    return keras.ops.cast(number, "float32")


def _power(gamma: float, exponent: Any) -> Any:
    """`gamma ** exponent` by its logarithm: more precise in float32 for `gamma` near 1 (0.9999 ** 100000)."""
    if gamma == 0:
        return _float(exponent == 0)
    return keras.ops.exp(exponent * math.log(gamma))
