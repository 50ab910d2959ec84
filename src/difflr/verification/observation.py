"""One real update of a compiled model: what was before it, what came in, what was after it."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.callbacks.measured_step import MeasuredStep
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.unwrap import base_rate, parts
from difflr.plan import Plan

Values = dict[int, np.ndarray]
MAX_BATCHES = 64  # until the weights change: gradients may be accumulated, or not finite under a large loss scale


@dataclasses.dataclass(frozen=True)
class PartState:
    """One optimizer before the update.

    Args:
        optimizer: It.
        variables: The variables it trains.
        base_rate: Its learning rate in this update.
        step: How many updates it has made.
        slots: Its state by attribute, an array (or `None`) for each of the variables.
        shared: Its state that belongs to no variable, by attribute.
        plan: The plan it has, with the multipliers of that moment; `None` if it is none of difflr's.
        in_phase: Whether a phase of freezing and unfreezing chooses who is trainable.
    """

    optimizer: Any
    variables: list[Any]
    base_rate: float
    step: int
    slots: dict[str, list[Any]]
    shared: dict[str, np.ndarray]
    plan: Plan | None
    in_phase: bool


class Observation:
    """Watches one real update, and takes notes.

    Args:
        model: A compiled model, built, with its optimizer.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._step = MeasuredStep(model, _all_gradients)
        self.parts: list[PartState] = []
        self.before: Values = {}
        self.after: Values = {}
        self.gradients: list[Values] = []  # of each batch until the weights changed

    def arm(self) -> None:
        """Notes what is now, and lets the model note what happens in its next step."""
        if not self.gradients:
            self.before = values(self._model.variables)
        states = [_state(part) for part in parts(self._model.optimizer)]
        # Of gradients that are accumulated: the state before the first, the rate at the last.
        rates = [state.base_rate for state in states]
        self.parts = [
            dataclasses.replace(old, base_rate=rate) for old, rate in zip(self.parts or states, rates, strict=True)
        ]
        self._variables = list(self._model.trainable_variables)
        self._step.arm(self._done)

    def _done(self, after: Values) -> None:
        self.after = after

    def take(self) -> bool:
        """After the step: whether the weights have changed in it. Else it goes on with the next one."""
        found = self._step.take()
        gradients = {id(v): g for v, g in zip(self._variables, found, strict=True) if g.shape == tuple(v.shape)}
        if not all(np.isfinite(gradient).all() for gradient in gradients.values()):
            if not hasattr(self._model.optimizer, "inner_optimizer"):
                raise ValueError("The gradients of this batch are not all finite, so nothing can be measured with it.")
            return False  # skipped by the LossScaleOptimizer, which now scales less
        self.gradients.append(gradients)
        return all(
            (keras_private.applications(part.optimizer) % (part.optimizer.gradient_accumulation_steps or 1)) == 0
            for part in self.parts
        )


def values(variables: Sequence[Any]) -> Values:
    """The values now, by identity."""
    return {id(variable): _as_numpy(variable) for variable in variables}


def _all_gradients(before: Sequence[Any], after: Sequence[Any], gradients: Sequence[Any]) -> Any:
    # A tuple: TensorFlow would make one tensor of a list.
    return tuple(keras.ops.zeros((0,)) if gradient is None else gradient for gradient in gradients)


def _state(optimizer: Any) -> PartState:
    variables = keras_private.trained(optimizer)
    ours = isinstance(optimizer, DifferentialOptimizer)
    slots = keras_private.slots(optimizer, len(variables)) if variables else {}
    return PartState(
        optimizer,
        variables,
        base_rate(optimizer),
        int(keras.ops.convert_to_numpy(optimizer.iterations)),
        {name: [None if each is None else _as_numpy(each) for each in slot] for name, slot in slots.items()},
        {name: _as_numpy(each) for name, each in keras_private.shared_state(optimizer, []).items()},
        optimizer.plan if ours else None,
        ours and optimizer.plan.whole is not optimizer.plan,
    )


def _as_numpy(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))
