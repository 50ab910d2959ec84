"""A training step that also returns what the optimizer did."""

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras

from difflr import keras_private
from difflr.optimizers.unwrap import is_scaled, other_optimizers, parts

Tensor: TypeAlias = Any  # of whichever backend
Function: TypeAlias = Callable[..., Tensor]


class Move(NamedTuple):
    """What the optimizer did to one variable in one step; changes by layers in the forward pass are not included.

    Args:
        before: Tensor, the value before the update.
        after: Tensor, the value after it.
        gradient: Tensor, the gradient that the model passed to the optimizer, without the loss scale; `None` if none.
    """

    before: Tensor
    after: Tensor
    gradient: Tensor | None


Moves: TypeAlias = Mapping[int, Move]  # by identity of the variable
Measure: TypeAlias = Callable[[Moves], Tensor]  # or nested tensors; always new ones, as weights change in place


class MeasuredStep:
    """Measures a real training step of a model, on the device.

    The step is compiled a second time, with the measures among its results, and replaces the model's own step for one
    call. After that call, even after an error, the model is as before. No reference to its functions is kept, because JAX
    reuses the trace of a `train_step` while it is referenced, even if the model was compiled again. Several
    `MeasuredStep`s can measure the same step.

    Args:
        measure: Function of the step's `Moves`. Its results are returned.
        before: Called right before the step, with the variables' values at that time. With `steps_per_execution`, the
            optimizer's step counter is at the last step.
        after: Called right after the step, likewise.
    """

    def __init__(
        self, measure: Measure, before: Callable[[], None] | None = None, after: Callable[[], None] | None = None
    ):
        self.measure = measure
        self.before = before
        self.after = after
        self.result: Tensor = None
        # The measuring function for each function of the model that it replaces, while that exists.
        self._compiled: weakref.WeakKeyDictionary[Function, tuple[list[MeasuredStep], Function]]
        self._compiled = weakref.WeakKeyDictionary()

    def arm(self, model: keras.Model) -> None:
        """Makes a model measure its next step.

        Args:
            model: A compiled model, between two steps.
        """
        if not isinstance(model.train_function, _ArmedStep):
            model.train_function = _ArmedStep(model)
        model.train_function.measuring.append(self)

    def take(self) -> Tensor:
        """Returns the measures of the last measured step as NumPy arrays, once; `None` if there are none."""
        result, self.result = self.result, None
        return None if result is None else keras.tree.map_structure(keras.ops.convert_to_numpy, result)

    def function(self, model: keras.Model, own: Function, measuring: list["MeasuredStep"]) -> Function:
        """The model's step with the measures of `measuring`, of which this is the first, among its results."""
        known, function = self._compiled.get(own, (None, None))
        if known != measuring or function is None:
            function = _compiled(model, [step.measure for step in measuring])
            self._compiled[own] = (measuring, function)
        return function


def check_one_optimizer(model: keras.Model) -> None:
    """Checks that the optimizer of `compile` is the model's only one.

    Args:
        model: A compiled model.

    Raises:
        ValueError: If the model has others, like a GAN.
    """
    if others := other_optimizers(model):
        raise ValueError(
            f"Only the optimizer passed to `compile` can be measured, and '{model.name}' has others: "
            f"{', '.join(others)}. For your own training step, use "
            "difflr.verify(model, data, plan=plan, step=..., reference=...)."
        )


class _ArmedStep:
    """Replaces a model's compiled step for one call.

    Args:
        model: The model.
    """

    def __init__(self, model: keras.Model):
        self.measuring: list[MeasuredStep] = []
        self._model = model
        self._own: Function = model.train_function
        self._fit = getattr(model, "history", None)

    def __call__(self, *args: Tensor) -> Tensor:
        model, measuring, own = self._model, self.measuring, self._own
        # First restore the model's own step, whatever happens afterwards.
        model.train_function = own
        del self._own
        if getattr(model, "history", None) is not self._fit:  # the `fit` in which it was armed has ended
            return own(*args)
        function = measuring[0].function(model, own, measuring)
        del own  # otherwise the traceback of an interrupted step would keep it
        on_jax = keras.backend.backend() == "jax"
        with _variables(model, args[0] if on_jax else None, steps=model.steps_per_execution):
            _call_all([step.before for step in measuring])
        outputs = function(*args)
        state = outputs[1] if on_jax else None
        logs, results = outputs[0] if on_jax else outputs
        for step, result in zip(measuring, results, strict=True):
            step.result = result
        with _variables(model, state):
            _call_all([step.after for step in measuring])
        return (logs, state) if on_jax else logs


def _call_all(functions: Sequence[Callable[[], None] | None]) -> None:
    for function in functions:
        if function is not None:
            function()


def _variables(
    model: keras.Model, state: tuple[Sequence[Tensor], ...] | None, steps: int = 1
) -> contextlib.AbstractContextManager[Any]:
    """A scope with the values of JAX's `state`, and with the optimizers at the last of the next `steps` steps."""
    values = [] if state is None else keras_private.values_in_state(model, state)
    if steps > 1:
        clocks = {id(clock): clock for clock in map(keras_private.clock, parts(model.optimizer))}
        now = {key: clock.value for key, clock in clocks.items() if state is None}
        now.update({id(variable): value for variable, value in values if id(variable) in clocks})
        values = [pair for pair in values if id(pair[0]) not in clocks]
        values += [(clock, now[key] + (steps - 1)) for key, clock in clocks.items()]
    return keras.StatelessScope(values) if values else contextlib.nullcontext()


def _compiled(model: keras.Model, measures: Sequence[Measure]) -> Function:
    """The compiled step of a model, with measures among its results."""
    recorder = _Recorder(measures)
    step = _measuring(model.train_step, recorder)
    own = model.train_function
    try:
        with _replaced(model, train_step=step):
            model.make_train_function(force=True)
        function = model.train_function
    finally:
        model.train_function = own

    def call(*args: Tensor) -> Tensor:
        # torch looks up `train_step` in every call; JAX and TensorFlow retrace for a batch of another size.
        with _replaced(model, train_step=step), _replaced(model.optimizer, **_recording(model.optimizer, recorder)):
            return function(*args)

    return call


def _measuring(train_step: Function, recorder: "_Recorder") -> Function:
    def step(*args: Tensor) -> Tensor:
        recorder.clear()
        try:
            result = train_step(*args)
            measured = recorder.measured
        finally:
            recorder.clear()
        if keras.backend.backend() == "jax":
            logs, state = result
            return (logs, measured), state
        return result, measured

    return step


@contextlib.contextmanager
def _replaced(target: object, **attributes: Function) -> Iterator[None]:
    """Temporarily replaces attributes, bypassing Keras's `__setattr__`, which would search them for layers."""
    own = vars(target)
    before = {name: own[name] for name in attributes if name in own}
    own.update(attributes)
    try:
        yield
    finally:
        for name in attributes:
            own.pop(name, None)
        own.update(before)


class _Recorder(threading.local):  # the replicas of a TensorFlow strategy run in threads
    """Measures each application of gradients immediately, because torch changes weights in place.

    Args:
        measures: The measures to compute.
    """

    def __init__(self, measures: Sequence[Measure]):
        self._measures = measures
        self.clear()

    def clear(self) -> None:
        """Drops everything, tensors included."""
        self._moves: dict[int, Move] = {}
        self._measured: tuple[Tensor, ...] | None = None

    @property
    def measured(self) -> tuple[Tensor, ...]:
        """The measures."""
        return tuple(measure({}) for measure in self._measures) if self._measured is None else self._measured

    def note(self, variables: Sequence[keras.Variable], *columns: Sequence[Tensor]) -> None:
        """Records one application of gradients: values before and after it, and gradients, in the order of `variables`."""
        for variable, before, after, gradient in zip(variables, *columns, strict=True):
            first = self._moves.get(id(variable))
            self._moves[id(variable)] = Move(first.before if first else before, after, gradient)
        self._measured = tuple(measure(self._moves) for measure in self._measures)


def _recording(optimizer: keras.optimizers.Optimizer, recorder: _Recorder) -> dict[str, Function]:
    """The method by which a training step applies gradients, by name, with recording."""
    inherited_apply, inherited_stateless = optimizer.apply, optimizer.stateless_apply

    def stateless_apply(
        optimizer_variables: Sequence[Tensor], grads: Sequence[Tensor], trainable_variables: Sequence[Tensor]
    ) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        result = inherited_stateless(optimizer_variables, grads, trainable_variables)
        gradients = _unscaled(grads, _loss_scale(optimizer, optimizer_variables))
        recorder.note(keras_private.trained(optimizer), trainable_variables, result[0], gradients)
        return result

    def apply(grads: Sequence[Tensor], trainable_variables: Sequence[keras.Variable] | None = None) -> None:
        grads = list(grads)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        variables = keras_private.trained(optimizer) if trainable_variables is None else trainable_variables
        before = [_copy(variable) for variable in variables]
        gradients = _unscaled(grads, _loss_scale(optimizer))
        inherited_apply(grads, trainable_variables)
        recorder.note(variables, before, [_value(variable) for variable in variables], gradients)

    if keras.backend.backend() == "jax":
        return {"stateless_apply": stateless_apply}
    return {"apply": apply}


def _unscaled(gradients: Sequence[Tensor], scale: Tensor) -> list[Tensor | None]:
    return [None if gradient is None else keras.ops.cast(_dense(gradient), "float32") / scale for gradient in gradients]


def _copy(variable: keras.Variable) -> Tensor:
    """The value now: torch changes weights in place."""
    value = _value(variable)
    return value.clone() if keras.backend.backend() == "torch" else keras.ops.copy(value)


def _value(variable: keras.Variable) -> Tensor:
    return keras.ops.stop_gradient(keras.ops.convert_to_tensor(variable))


def _dense(gradient: Tensor) -> Tensor:
    """A dense gradient; TensorFlow's gradient of an embedding is a list of rows."""
    if keras.backend.backend() != "tensorflow":
        return gradient
    import tensorflow as tf

    return tf.convert_to_tensor(gradient)


def _loss_scale(optimizer: keras.optimizers.Optimizer, optimizer_variables: Sequence[Tensor] | None = None) -> Tensor:
    """The factor on the loss."""
    if is_scaled(optimizer):
        if not optimizer.built:
            return optimizer.initial_scale
        scale = optimizer.dynamic_scale
        if optimizer_variables is None:
            return keras.ops.convert_to_tensor(scale)
        return next(v for v, own in zip(optimizer_variables, optimizer.variables, strict=True) if own is scale)
    return optimizer.loss_scale_factor or 1.0
