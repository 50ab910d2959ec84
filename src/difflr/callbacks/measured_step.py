"""One training step that also hands out what happened in it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from difflr.optimizers.unwrap import parts

MEASURES = ("update_ratio", "gradient_norm")


# (values before, values after, gradients or `None`), each in the order of the trainable variables -> tensors
Measure = Callable[[Sequence[Any], Sequence[Any], Sequence[Any]], Any]


class MeasuredStep:
    """Measures a real step of a model, on the device.

    The step is compiled once more, with the measures among its results, and takes the place of the model's own for one
    call. All other steps are as they were, and what is saved with the model is too.

    Args:
        model: A compiled model.
        measure: What is handed out, from tensors to tensors.
    """

    def __init__(self, model: keras.Model, measure: Measure):
        self._model = model
        self._measure = measure
        self._functions: tuple[Any, Any] = (None, None)  # the model's own, and the measuring one that belongs to it
        self._result: Any = None

    def arm(self, done: Callable[[dict[int, np.ndarray]], None] | None = None) -> None:
        """Lets the model measure its next step.

        Args:
            done: Called right after that step with the values of the model's variables, by identity.
        """
        model, own = self._model, vars(self._model)
        normal, theirs = model.train_function, own.get("train_step")
        # Past Keras's `__setattr__`, which would look for layers and variables in it.
        own["train_step"] = self._measuring(model.train_step)
        if self._functions[0] is not normal or self._functions[1] is None:
            model.make_train_function(force=True)
            self._functions = normal, model.train_function

        def once(*args: Any) -> Any:
            try:
                result = self._functions[1](*args)
            finally:
                self._disarm(normal, theirs)
            state = None
            if keras.backend.backend() == "jax":
                result, state = result
            logs, self._result = result
            if done is not None:
                done(self._values(state))
            return logs if state is None else (logs, state)

        model.train_function = once

    def take(self) -> Any:
        """The measures of the last measured step, as NumPy arrays, once."""
        result, self._result = self._result, None
        return keras.tree.map_structure(keras.ops.convert_to_numpy, result)

    def _values(self, state: Any) -> dict[int, np.ndarray]:
        model = self._model
        variables = [*model.trainable_variables, *model.non_trainable_variables]
        values = variables if state is None else [*state[0], *state[1]]
        return {id(v): np.array(keras.ops.convert_to_numpy(each)) for v, each in zip(variables, values, strict=True)}

    def _disarm(self, normal: Any, theirs: Any) -> None:
        self._model.train_function = normal
        if theirs is None:
            vars(self._model).pop("train_step", None)
        else:
            vars(self._model)["train_step"] = theirs

    def _measuring(self, train_step: Callable) -> Callable:
        model = self._model
        if keras.backend.backend() == "jax":

            def stateless_step(state: Any, data: Any) -> Any:
                with self._gradients() as gradients:
                    logs, new = train_step(state, data)
                return (logs, self._measure(state[0], new[0], gradients)), new

            return stateless_step

        def step(data: Any) -> Any:
            before = [_copy(variable) for variable in model.trainable_variables]
            with self._gradients() as gradients:
                logs = train_step(data)
            after = [_value(variable) for variable in model.trainable_variables]
            return logs, self._measure(before, after, gradients)

        return step

    @contextlib.contextmanager
    def _gradients(self) -> Iterator[list[Any]]:
        """The gradients that the model gives its optimizer, without the scale of the loss."""
        optimizer = self._model.optimizer
        seen: list[Any] = []
        name = "stateless_apply" if keras.backend.backend() == "jax" else "apply"
        inherited = getattr(optimizer, name)

        def stateless_apply(optimizer_variables: Any, grads: Any, trainable_variables: Any) -> Any:
            scale = _loss_scale(optimizer, optimizer_variables)
            seen[:] = [None if g is None else _float(g) / scale for g in grads]
            return inherited(optimizer_variables, grads, trainable_variables)

        def apply(grads: Any, trainable_variables: Any = None) -> Any:
            grads = list(grads)
            scale = _loss_scale(optimizer)
            variables = list(
                trainable_variables if trainable_variables is not None else self._model.trainable_variables
            )
            by_variable = dict(zip(map(id, variables), grads, strict=True))
            found = [by_variable.get(id(variable)) for variable in self._model.trainable_variables]
            seen[:] = [None if g is None else _float(_dense(g)) / scale for g in found]
            return inherited(grads, trainable_variables)

        vars(optimizer)[name] = stateless_apply if name == "stateless_apply" else apply
        try:
            yield seen
        finally:
            del vars(optimizer)[name]


def norms(model: keras.Model, groups: Sequence[frozenset[int]]) -> Measure:
    """A measure: norm of the update over norm of the weights, and norm of the gradient, `(len(MEASURES), groups)`.

    Args:
        model: The model.
        groups: For each group the identities of its variables.
    """

    def measure(before: Sequence[Any], after: Sequence[Any], gradients: Sequence[Any]) -> Any:
        variables = model.trainable_variables
        places = [[p for p, variable in enumerate(variables) if id(variable) in group] for group in groups]
        moved = [_square(_float(new) - _float(old)) for old, new in zip(before, after, strict=True)]
        weights = [_square(_float(old)) for old in before]
        squares = [_zero() if g is None else _square(g) for g in gradients]
        ratios = [_root(moved, at) / _root(weights, at) if at else _zero() for at in places]
        lengths = [_root(squares, at) if squares else keras.ops.full((), np.nan) for at in places]
        return keras.ops.stack([keras.ops.stack(ratios), keras.ops.stack(lengths)])

    return measure


def _zero() -> Any:
    return keras.ops.zeros((), "float32")


def _float(tensor: Any) -> Any:
    return keras.ops.cast(tensor, "float32")


def _square(tensor: Any) -> Any:
    return keras.ops.sum(keras.ops.square(tensor))


def _root(squares: Sequence[Any], places: Sequence[int]) -> Any:
    """The norm of several variables together, from the squares of their norms; 0 where none of them is trained."""
    return keras.ops.sqrt(sum((squares[place] for place in places), _zero()))


def _copy(variable: Any) -> Any:
    """The value now: torch changes weights in place."""
    value = _value(variable)
    return value.clone() if keras.backend.backend() == "torch" else keras.ops.copy(value)


def _value(variable: Any) -> Any:
    return keras.ops.stop_gradient(keras.ops.convert_to_tensor(variable))


def _dense(gradient: Any) -> Any:
    """TensorFlow's gradient of an embedding is a list of rows."""
    if keras.backend.backend() != "tensorflow":
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


def _loss_scale(optimizer: Any, optimizer_variables: Sequence[Any] | None = None) -> Any:
    """What the loss was multiplied by."""
    if hasattr(optimizer, "inner_optimizer"):
        if not optimizer.built:
            return optimizer.initial_scale
        scale = optimizer.dynamic_scale
        if optimizer_variables is None:
            return keras.ops.convert_to_tensor(scale)
        return next(v for v, own in zip(optimizer_variables, optimizer.variables, strict=True) if own is scale)
    return optimizer.loss_scale_factor or 1.0


def accumulation(optimizer: Any) -> int:
    """After how many batches the weights change.

    Args:
        optimizer: Any Keras optimizer.
    """
    return max(part.gradient_accumulation_steps or 1 for part in parts(optimizer))
