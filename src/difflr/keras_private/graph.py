"""The calls inside a layer or model, from the graph of a functional model or from one traced call.

A traced call runs `layer.call` on `KerasTensor`s, which have a shape but no data. Keras records every layer and operation
called on them, as when a functional model is created. Afterwards the layer is restored.
"""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state
from keras.src.models.functional import Functional

BATCH_SIZE, UNKNOWN_SIZE = 2, 32  # used for the unknown sizes in shapes: of the batch, and others

Arguments = tuple[tuple[Any, ...], dict[str, Any]]  # positional, and by name


class UnreadableError(ValueError):
    """A layer whose call cannot be traced."""


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer or operation.

    Args:
        operation: What is called.
        arguments: With what, positional and by name.
        inputs: The tensors among the arguments.
        outputs: The tensors it returns.
    """

    operation: keras.Operation
    arguments: Arguments
    inputs: list[keras.KerasTensor]
    outputs: list[keras.KerasTensor]

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables that the call may train: those in the layer, at all depths, and those among the arguments."""
        inside = all_trainable_variables(self.operation) if isinstance(self.operation, keras.Layer) else []
        return inside + [
            argument for argument in keras.tree.flatten(self.arguments) if isinstance(argument, keras.Variable)
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """The calls inside a layer.

    Args:
        inputs: The tensors that the layer takes.
        calls: The calls, in topological order.
        outputs: The tensors that the layer returns.
    """

    inputs: list[keras.KerasTensor]
    calls: list[Call]
    outputs: list[keras.KerasTensor]


def graph_of(layer: keras.Layer, arguments: Arguments | None = None) -> Graph:
    """The calls inside `layer`.

    Args:
        layer: A built layer or model of any kind.
        arguments: Its arguments, as in `Call.arguments`. `None`: from the shapes it was built for.

    Raises:
        UnreadableError: If `layer.call` does not run on symbolic tensors, for example because it uses operations of one
            backend (`tf.nn.relu`) instead of `keras.ops`.
    """
    functional = layer
    if isinstance(layer, keras.Sequential) and type(layer).call is keras.Sequential.call and layer._functional:
        functional = layer._functional
    if isinstance(functional, Functional) and type(functional).call is Functional.call:
        inputs, outputs = list(functional.inputs), list(functional.outputs)
        return Graph(inputs, _calls(inputs, outputs), outputs)
    errors = []
    for args, kwargs in _possible_arguments(layer, arguments):
        try:
            return _traced(layer, args, kwargs)
        except Exception as error:  # whatever the user's code raises
            errors.append(f"{type(error).__name__}: {' '.join(str(error).split())}")
    why = f" ({errors[0][:250]})" if errors else ", as the shapes of its inputs are not known"
    raise UnreadableError(f"the call of {type(layer).__name__} '{layer.name}' cannot be traced{why}")


def all_trainable_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The variables in `layer`, at all depths, that were created as trainable, each once; frozen ones included.

    `layer.trainable_variables` leaves out frozen ones.
    """
    found = {id(variable): variable for inner in layer._flatten_layers() for variable in inner._trainable_variables}
    return list(found.values())


def _calls(inputs: list[keras.KerasTensor], outputs: list[keras.KerasTensor]) -> list[Call]:
    """The calls between `inputs` and `outputs`, in topological order.

    Keras stores the origin of each tensor in `_keras_history`. A `keras.Function` would find the calls too, but refuses
    layers with equal names, which subclassed models may have.
    """
    known = set(map(id, inputs))
    calls: dict[int, Call] = {}
    pending = [(tensor, False) for tensor in reversed(outputs)]
    while pending:
        tensor, is_ready = pending.pop()
        operation, node_index, _ = tensor._keras_history
        if id(tensor) in known or operation is None or isinstance(operation, keras.layers.InputLayer):
            continue
        node = operation._inbound_nodes[node_index]
        if id(node) in calls:
            continue
        if is_ready:
            arguments = (node.arguments.args, node.arguments.kwargs)
            calls[id(node)] = Call(operation, arguments, list(node.input_tensors), list(node.outputs))
        else:
            pending += [(tensor, True), *((input_tensor, False) for input_tensor in reversed(node.input_tensors))]
    return list(calls.values())


def _possible_arguments(layer: keras.Layer, arguments: Arguments | None) -> Iterator[Arguments]:
    """Possible arguments of `layer`: `arguments`, or tensors of the shapes it was built for, whose dtype is unknown.

    Unknown sizes are first replaced by numbers, because otherwise Keras traces each layer twice with two sizes; then they
    stay unknown, for layers that need larger sizes.
    """
    if isinstance(layer, Functional):
        arguments = arguments or ((layer.input,), {})
    possible = [arguments] if arguments else [_built_for(layer, dtype) for dtype in (keras.config.floatx(), "int32")]
    for args in filter(None, possible):
        is_open = any(None in tensor.shape for tensor in _tensors(args))
        for sizes in ((BATCH_SIZE, UNKNOWN_SIZE), (None, None)) if is_open else ((None, None),):
            yield keras.tree.map_structure(lambda value, sizes=sizes: _copy(value, *sizes), args)


def _built_for(layer: keras.Layer, dtype: str) -> Arguments | None:
    """Tensors of the shapes that `layer` was built for: one as the first argument, several by name."""
    tensors = {
        name.removesuffix("_shape"): keras.tree.map_shape_structure(
            lambda shape: keras.KerasTensor(shape, dtype, name="input"), shape
        )
        for name, shape in (layer._build_shapes_dict or {}).items()
    }
    if not tensors:
        return None
    return ((), tensors) if len(tensors) > 1 else (tuple(tensors.values()), {})


def _copy(value: Any, batch_size: int | None, size: int | None) -> Any:
    """A tensor like `value`; with `value` itself, Keras would record the call in its graph."""
    if not isinstance(value, keras.KerasTensor):
        return value
    shape = [n or (size if axis else batch_size) for axis, n in enumerate(value.shape)]
    return keras.KerasTensor(shape, value.dtype, name=value.name)


def _traced(layer: keras.Layer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Graph:
    if layer._call_has_training_arg:
        kwargs = {"training": False, **kwargs}
    inputs = _tensors((args, kwargs))
    with _unchanged(layer), keras.StatelessScope(), warnings.catch_warnings(action="ignore"):
        outputs = _tensors(layer.call(*args, **kwargs))
        if not outputs:
            raise ValueError("it returns no tensors")
        return Graph(inputs, _calls(inputs, outputs), outputs)


def _tensors(structure: Any) -> list[keras.KerasTensor]:
    return [tensor for tensor in keras.tree.flatten(structure) if isinstance(tensor, keras.KerasTensor)]


@contextlib.contextmanager
def _unchanged(layer: keras.Layer) -> Iterator[None]:
    """Restores `layer`, the layers in it and Keras's name counters afterwards, and prevents new weights."""
    layers = layer._flatten_layers()
    attributes = [(vars(layer), dict(vars(layer))) for layer in layers]
    values: list[Any] = [value for _, kept in attributes for value in kept.values()]
    lists = [(value, list(value)) for value in values if isinstance(value, list)]
    sets = [(value, set(value)) for value in values if isinstance(value, set)]
    counters = global_state.get_global_attribute("object_name_uids", {})
    counted = dict(counters)
    unlocked = [layer._tracker for layer in layers if not layer._tracker.locked]
    try:
        for tracker in unlocked:
            tracker.lock("A traced call makes no weights.")
        for now, _ in attributes:
            now["add_loss"] = lambda loss: None  # it takes no symbolic tensors
        yield
    finally:
        for tracker in unlocked:
            tracker.unlock()
        for now, kept in attributes:
            for name in now.keys() - kept.keys():
                del now[name]
            now.update(kept)
        for value, items in lists:
            list.__setitem__(value, slice(None), items)
        for group, members in sets:
            group.intersection_update(members)
            group.update(members)
        counters.clear()
        counters.update(counted)
