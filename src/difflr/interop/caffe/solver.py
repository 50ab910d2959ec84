"""Caffe's solvers as optimizers: weight decay in the gradient, `delta` outside the square root."""

from typing import Any

import keras

from difflr import keras_private
from difflr.checks import checked_number, checked_option
from difflr.optimizers import differential
from difflr.schedules.caffe_schedule import CaffeSchedule

# The values of `SolverType`, the old form of `type`.
_OLD_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")


class _DecayInGradient:
    """Weight decay as in Caffe: added to the gradient after clipping, times the plan's weight-decay multiplier.

    Keras's `weight_decay` is decoupled: it never enters momentum or second moments.

    Args:
        coupled_weight_decay: Float >= 0.
        regularization_type: `"L2"` or `"L1"`.
    """

    def __init__(
        self, *args: Any, coupled_weight_decay: float = 0.0, regularization_type: str = "L2", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.coupled_weight_decay = coupled_weight_decay
        self.regularization_type = regularization_type

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Add the decay to the gradient, then update as the optimizer does."""
        # Use groups, not `self.plan`: on TensorFlow `variable` is native, and a traced step cannot read state.
        multiplier = self.weight_decay_multiplier(variable)
        decay = self.coupled_weight_decay * multiplier
        if decay:
            value = keras.ops.cast(variable, gradient.dtype)
            gradient = gradient + decay * (keras.ops.sign(value) if self.regularization_type == "L1" else value)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        """The optimizer's arguments and those of the decay."""
        return {
            **super().get_config(),
            "coupled_weight_decay": self.coupled_weight_decay,
            "regularization_type": self.regularization_type,
        }


class _DividesByRootPlusEpsilon:
    """`rate * g / (sqrt(mean square) + epsilon)`: in Keras epsilon is inside the root."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """The update of Caffe's `adagrad_solver.cpp` and `rmsprop_solver.cpp`."""
        gradient = keras.ops.cast(gradient, variable.dtype)
        history, new = self._new_history(keras_private.position(self, variable), keras.ops.square(gradient))
        self.assign(history, new)
        step = keras.ops.cast(learning_rate, variable.dtype) * gradient / (keras.ops.sqrt(new) + self.epsilon)
        self.assign_sub(variable, step)


class CaffeSGD(_DecayInGradient, keras.optimizers.SGD):
    """Caffe's SGD, or its Nesterov with `nesterov=True`."""


class CaffeAdam(_DecayInGradient, keras.optimizers.Adam):
    """Caffe's Adam."""


class CaffeAdaDelta(_DecayInGradient, keras.optimizers.Adadelta):
    """Caffe's AdaDelta."""


class CaffeAdaGrad(_DecayInGradient, _DividesByRootPlusEpsilon, keras.optimizers.Adagrad):
    """Caffe's AdaGrad."""

    def _new_history(self, index: int, square: Any) -> tuple[Any, Any]:
        history = keras_private.state_of(self, "Adagrad")[0][index]
        return history, history + square


class CaffeRMSProp(_DecayInGradient, _DividesByRootPlusEpsilon, keras.optimizers.RMSprop):
    """Caffe's RMSProp."""

    def _new_history(self, index: int, square: Any) -> tuple[Any, Any]:
        history = keras_private.state_of(self, "RMSprop")[0][index]
        return history, self.rho * history + (1 - self.rho) * square


# Type -> the class, and argument -> solver field.
_SOLVERS: dict[str, tuple[type, dict[str, str]]] = {
    "SGD": (CaffeSGD, {"momentum": "momentum"}),
    "Nesterov": (CaffeSGD, {"momentum": "momentum"}),
    "AdaGrad": (CaffeAdaGrad, {"epsilon": "delta"}),
    "RMSProp": (CaffeRMSProp, {"epsilon": "delta", "rho": "rms_decay"}),
    "AdaDelta": (CaffeAdaDelta, {"epsilon": "delta", "rho": "momentum"}),
    "Adam": (CaffeAdam, {"epsilon": "delta", "beta_1": "momentum", "beta_2": "momentum2"}),
}
_FIXED: dict[str, dict[str, Any]] = {"Nesterov": {"nesterov": True}, "AdaGrad": {"initial_accumulator_value": 0.0}}
_DEFAULTS = {"delta": 1e-8, "momentum2": 0.999, "rms_decay": 0.99, "clip_gradients": -1.0, "iter_size": 1}
_CLASSES = {base: differential(base) for base, _ in _SOLVERS.values()}  # so that Keras can load a saved model


def learning_rate_of(solver: Any) -> Any:
    """The base rate of a solver: a number for `lr_policy: "fixed"`, otherwise a schedule.

    Args:
        solver: The result of `read_solver`.

    Raises:
        ValueError: If the solver has no `base_lr`, or its policy lacks a number.
    """
    if not solver.HasField("base_lr"):
        raise ValueError("The solver has no `base_lr`.")
    schedule = CaffeSchedule(
        solver.base_lr,
        solver.lr_policy,
        gamma=solver.gamma,
        power=solver.power,
        stepsize=solver.stepsize,
        stepvalue=solver.stepvalue,
        max_iter=solver.max_iter,
        iter_size=_number(solver, "iter_size"),
    )
    return solver.base_lr if solver.lr_policy == "fixed" else schedule


def optimizer_of(solver: Any, learning_rate: Any, plan: Any) -> Any:
    """The unbuilt optimizer of a solver, with the plan.

    Args:
        solver: The result of `read_solver`.
        learning_rate: The base rate.
        plan: The `difflr.Plan` of the net.

    Raises:
        ValueError: If Caffe has no such solver or refuses its settings.
    """
    kind = (
        solver.type if solver.HasField("type") or not solver.HasField("solver_type") else _OLD_TYPES[solver.solver_type]
    )
    kind = kind or "SGD"
    checked_option(kind, "type", _SOLVERS)
    if solver.HasField("type") and solver.HasField("solver_type"):
        raise ValueError("The solver has both `type` and the old `solver_type`, which Caffe refuses. Remove one.")
    for field in ("weight_decay", "delta"):
        checked_number(getattr(solver, field), field)
    base, arguments = _SOLVERS[kind]
    if solver.momentum and "momentum" not in arguments.values():
        raise ValueError(f"{kind} has no momentum, but the solver sets `momentum: {solver.momentum:g}`. Remove it.")
    checked_option(solver.regularization_type or "L2", "regularization_type", ("L1", "L2"))
    clip, iter_size = _number(solver, "clip_gradients"), _number(solver, "iter_size")
    if clip == 0:
        raise ValueError("With `clip_gradients: 0` Caffe trains nothing. Remove it or set a norm above 0.")
    return _CLASSES[base](
        learning_rate,
        **{argument: _number(solver, field) for argument, field in arguments.items()},
        **_FIXED.get(kind, {}),
        coupled_weight_decay=solver.weight_decay,
        regularization_type=solver.regularization_type or "L2",
        # Caffe clips the sum over `iter_size` batches; Keras clips the mean.
        global_clipnorm=clip / iter_size if clip > 0 else None,
        gradient_accumulation_steps=iter_size if iter_size > 1 else None,
        multipliers=plan,
    )


def _number(solver: Any, field: str) -> Any:
    return getattr(solver, field) if solver.HasField(field) else _DEFAULTS.get(field, 0.0)
