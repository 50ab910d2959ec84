"""Merge several optimizers of one class into one optimizer with multipliers."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import wrong_type
from difflr.interop.translation import Translation
from difflr.optimizers import differential

_OWN = ("name", "learning_rate", "weight_decay", "loss_scale_factor")


class SameClass:
    """Several optimizers merged into one, with a learning-rate and weight-decay multiplier for each.

    Args:
        optimizers: Unbuilt or built Keras optimizers; the one with the highest rate is the base.

    Raises:
        ValueError: If they differ in more than learning rate and weight decay, have different schedules, or there are none.
    """

    def __init__(self, optimizers: Iterable[Any]):
        candidates = list({id(optimizer): optimizer for optimizer in optimizers}.values())
        configs = [optimizer.get_config() for optimizer in candidates]
        rates = [_rate(config["learning_rate"]) for config in configs]
        decays = [_shortest(config.get("weight_decay") or 0.0) for config in configs]
        highest = max(range(len(rates)), key=lambda number: _size(rates[number]), default=None)
        if highest is None or not rates[highest]:
            raise ValueError(f"Expected optimizers with a rate above 0. Received: {candidates!r}.")
        self.base, base = candidates[highest], configs[highest]
        for optimizer, config in zip(candidates, configs, strict=True):
            _check_alike(self.base, base, optimizer, config)
        self.rate, self.decay = rates[highest], max(decays)
        self._axes = {
            id(optimizer): _axes(self.rate, self.decay, rate, decay)
            for optimizer, rate, decay in zip(candidates, rates, decays, strict=True)
        }
        self._config = {**base, "weight_decay": self.decay or base.get("weight_decay")}

    def axes(self, optimizer: Any, variable: keras.Variable) -> dict[str, float]:
        """The rule values for a variable of `optimizer`."""
        excluded = {} if keras_private.decays(optimizer, variable) else {"weight_decay_multiplier": 0.0}
        return {**self._axes[id(optimizer)], **excluded}

    def complete(self, translation: Translation) -> Translation:
        """The translation with the merged optimizer, and what differs from several.

        Args:
            translation: The plan and the report.
        """
        clips = bool(self._config.get("global_clipnorm"))
        notes = ("global_clipnorm: one norm over all gradients, instead of one per optimizer",) if clips else ()
        optimizer = differential(type(self.base)).from_config({**self._config, "multipliers": translation.plan})
        return dataclasses.replace(translation, learning_rate=self.rate, optimizer=optimizer, notes=notes)


def _rate(rate: Any) -> Any:
    return rate if isinstance(rate, dict) else _shortest(rate)


def _size(rate: Any) -> float:
    return math.inf if isinstance(rate, dict) else rate


def _shortest(number: float) -> float:
    """The number the user wrote, which Keras stores as float32: 0.001 for 0.0010000000474974513."""
    return float(str(np.float32(number)))


def _check_alike(base: Any, expected: dict[str, Any], optimizer: Any, config: dict[str, Any]) -> None:
    different = [name for name in config if name not in _OWN and config[name] != expected.get(name)]
    if type(base) is not type(optimizer) or different:
        what = f"in {', '.join(different)}" if different else "in their class"
        raise ValueError(
            f"The optimizers '{base.name}' ({type(base).__name__}) and '{optimizer.name}' ({type(optimizer).__name__}) "
            f"differ {what}. One optimizer with multipliers can replace optimizers that differ only in `learning_rate` "
            "and `weight_decay`. Otherwise use a keras.optimizers.MultiOptimizer."
        )


def _axes(base_rate: Any, base_decay: float, rate: Any, decay: float) -> dict[str, float]:
    if isinstance(rate, dict) or isinstance(base_rate, dict):
        if rate != base_rate:
            raise ValueError(
                "The optimizers have different schedules. Use one schedule as the base rate, and give groups a schedule of "
                "their own with `difflr.Rule(..., schedule=...)`."
            )
        multiplier = 1.0
    else:
        multiplier = rate / base_rate
    return {"multiplier": multiplier} | ({"weight_decay_multiplier": decay / base_decay} if base_decay else {})


def one_optimizer(optimizer: Any) -> Any:
    """Return `optimizer` if it is a Keras optimizer.

    Raises:
        TypeError: If it is not.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise wrong_type("`optimizer`", "a Keras optimizer", optimizer)
    return optimizer
