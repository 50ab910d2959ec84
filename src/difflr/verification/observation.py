"""One real update of a compiled model: the state before it, the gradients, the weights after it."""

import dataclasses
from collections.abc import Sequence
from typing import TypeAlias

import keras
import numpy as np

from difflr import keras_private
from difflr.callbacks.measured_step import MeasuredStep, Moves, Tensor
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.state_by_place import LateStart, as_numpy
from difflr.optimizers.unwrap import base_rate, is_scaled, parts
from difflr.plan import Plan

Values: TypeAlias = dict[int, np.ndarray]  # by identity of the variable
MAX_BATCHES = 64  # until the weights change: gradients may be accumulated, or not finite under a large loss scale


@dataclasses.dataclass(frozen=True)
class PartState:
    """One optimizer before the update.

    Args:
        optimizer: The optimizer.
        variables: The variables it trains.
        base_rate: Float, its learning rate in this update.
        step: How many updates it has made.
        slots: Its state by attribute, an array (or `None`) for each of the variables.
        shared: Its state that belongs to no variable, by attribute.
        plan: The plan in force, with the multipliers of that moment; `None` if it is none of difflr's.
        starts: When its variables joined the training, where it knows: by identity.
    """

    optimizer: keras.optimizers.Optimizer
    variables: list[keras.Variable]
    base_rate: float
    step: int
    slots: dict[str, list[np.ndarray | None]]
    shared: dict[str, np.ndarray]
    plan: Plan | None
    starts: dict[int, LateStart]


class Observation:
    """Records one real update, which may take several steps.

    Args:
        model: A compiled model, built, with its optimizer.
    """

    def __init__(self, model: keras.Model):
        self._model = model
        self._step = MeasuredStep(_everything, before=self._before_step, after=self._after_step)
        self._is_update = False
        self.parts: list[PartState] = []
        self.before: Values = {}  # of all variables of the model: before the first step
        self.after: Values = {}  # and after the last
        self.found: Values = {}  # of those to which the optimizer applied gradients: what it found
        self.left: Values = {}  # and what it left
        self.gradients: list[Values] = []  # of each step

    def arm(self) -> None:
        """Records the model's next step."""
        self._step.arm(self._model)

    def take(self) -> bool:
        """After a step: whether it updated the weights. If not, the next step belongs to the same update.

        Raises:
            ValueError: If the model does not train with its optimizer.
        """
        moves = self._step.take()
        if moves is None:
            return False
        if not moves:
            raise ValueError(
                f"The training step of '{self._model.name}' did not apply gradients with the model's optimizer, so "
                "nothing can be measured. For your own training step, use "
                "difflr.verify(model, data, step=..., reference=...)."
            )
        gradients = {int(key): move["gradient"] for key, move in moves.items() if "gradient" in move}
        skipped = is_scaled(self._model.optimizer) and not all(map(is_finite, gradients.values()))
        if skipped or not all(part.base_rate for part in self.parts):
            return False  # by a LossScaleOptimizer, which now scales less; or a warm-up begins with a rate of 0
        self.gradients.append(gradients)
        self.found = {int(key): move["before"] for key, move in moves.items()}
        self.left = {int(key): move["after"] for key, move in moves.items()}
        return self._is_update

    def _before_step(self) -> None:
        states = [_state(part) for part in parts(self._model.optimizer)]
        if not self.gradients:
            self.before, self.parts = values(self._model.variables), states
        else:  # gradients that are accumulated: the state before the first of them, the rate at the last
            pairs = zip(self.parts, states, strict=True)
            self.parts = [dataclasses.replace(first, base_rate=now.base_rate) for first, now in pairs]

    def _after_step(self) -> None:
        self.after = values(self._model.variables)
        self._is_update = all(
            keras_private.applications(part.optimizer) % (part.optimizer.gradient_accumulation_steps or 1) == 0
            for part in self.parts
        )


def values(variables: Sequence[keras.Variable]) -> Values:
    """The values now, by identity.

    Args:
        variables: Variables.
    """
    return {id(variable): as_numpy(variable) for variable in variables}


def is_finite(value: np.ndarray) -> bool:
    """Whether all numbers in `value` are finite.

    Args:
        value: Float array.
    """
    return bool(np.isfinite(value.astype("float64")).all())


def _everything(moves: Moves) -> dict[str, dict[str, Tensor]]:
    found = {}
    for key, move in moves.items():
        values = {"before": move.before, "after": move.after, "gradient": move.gradient}
        found[str(key)] = {name: keras.ops.copy(value) for name, value in values.items() if value is not None}
    return found


def _state(optimizer: keras.optimizers.Optimizer) -> PartState:
    variables = keras_private.trained(optimizer)
    differential = isinstance(optimizer, DifferentialOptimizer)
    slots = keras_private.slots(optimizer, len(variables)) if variables else {}
    return PartState(
        optimizer,
        variables,
        base_rate(optimizer),
        int(keras.ops.convert_to_numpy(optimizer.iterations)),
        {name: [None if value is None else as_numpy(value) for value in slot] for name, slot in slots.items()},
        {name: as_numpy(value) for name, value in keras_private.shared_state(optimizer, []).items()},
        optimizer.plan if differential else None,
        {id(variable): optimizer.late_start(variable) for variable in variables} if differential else {},
    )
