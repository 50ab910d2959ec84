"""Find the head of a model in its data flow."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import TypeAlias

import keras

from difflr import keras_private
from difflr.checks import listed
from difflr.keras_private import Call, Graph
from difflr.plan import layer_tree
from difflr.plan.kinds import is_normalization

RECTIFIED = ("relu", "relu6", "gelu", "silu", "swish", "leaky_relu", "elu", "selu", "mish")
MANY_KERNELS = 12  # more than any head has
PARALLEL = re.compile(r"expert|head|branch")  # series whose members run in parallel

FIX = (
    "say which layers are the head, as in `head=model.get_layer(...)` or `head=['classifier', ...]`; in rules and phases "
    "name these layers instead of 'kind:head'"
)

Part: TypeAlias = keras.Layer | keras.Variable


def head_of(model: keras.Layer) -> list[Part]:
    """The head: for each output of `model`, the last layer with weights on the path to it.

    It comes from the graph of a functional model, or from tracing one call of any other model. Wrapper models are
    unwrapped. A norm between global pooling and the head is part of the head. Features returned along with predictions
    are not, nor are weights also used below the head, such as tied embeddings.

    Args:
        model: A built model or layer.

    Returns:
        Layers, or variables where only part of a layer is head. Empty if all last weights are also used below.

    Raises:
        ValueError: If the head cannot be found, or the last layers are not a head.

    Example:

    ```python
    from difflr.plan.head import head_of

    assert head_of(model) == [model.layers[-1]]
    ```
    """
    try:
        graph = _unwrapped(model)
    except keras_private.UnreadableError as error:
        raise ValueError(_ask(model, f"cannot be found: {error}")) from None
    flow = _Flow(graph)
    _check_reached(model, graph)
    candidates = flow.last_calls()
    _check_blocks(model, graph, [graph.calls[number].operation for number in candidates])
    last = flow.not_below(candidates)
    for number in last:
        _check_head(model, graph.calls[number].operation)
    last |= flow.vectors_behind(last) | {norm for number in last for norm in flow.norms_before(number)}
    below = {id(v) for number, call in enumerate(graph.calls) if number not in last for v in call.variables}
    parts = [part for number in sorted(last) for part in _parts(graph.calls[number], below)]
    return list({id(part): part for part in parts}.values())


def has_kernel(layer: keras.Operation) -> bool:
    """Whether a layer counts as a layer of the network: it has a kernel and is not a norm."""
    return not is_norm(layer) and any(map(is_kernel, variables_of(layer)))


def is_kernel(variable: keras.Variable) -> bool:
    """Whether a variable is a kernel: not a vector, nor a class or position token (broadcast along an axis)."""
    return len(variable.shape) >= 2 and (variable.shape[0] != 1 or variable.name.endswith("kernel"))


def is_norm(layer: keras.Operation) -> bool:
    """Whether it is a normalization layer."""
    return isinstance(layer, keras.Layer) and is_normalization(layer)


def is_composite(layer: keras.Operation) -> bool:
    """Whether it contains several layers with kernels, like a transformer block."""
    return isinstance(layer, keras.Layer) and sum(map(has_kernel, weighted_sublayers(layer))) > 1


def is_nested_graph(layer: keras.Operation) -> bool:
    """Whether it is a functional or Sequential model."""
    return isinstance(layer, (keras_private.Functional, keras.Sequential))


def is_series(layer: keras.Layer) -> bool:
    """Whether it contains consecutive blocks (`blocks/0`, `blocks/1`), directly or nested."""
    children = weighted_sublayers(layer)
    if is_nested_graph(layer):
        return len(children) > 1
    names = layer_tree.layer_names(layer, children, saved=False)
    series = Counter(
        (re.sub(r"\d+", "#", name), type(child))
        for child, name in zip(children, names, strict=True)
        if re.search(r"\d", name) and not PARALLEL.search(name) and len(weighted_sublayers(child)) > 1
    )
    return max(series.values(), default=0) > 1 or any(
        is_series(child) for child in children if not is_nested_graph(child)
    )


def variables_of(layer: keras.Operation) -> list[keras.Variable]:
    """The variables in a layer that were created as trainable; an operation has none."""
    return keras_private.all_trainable_variables(layer) if isinstance(layer, keras.Layer) else []


def weighted_sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly below `layer` that have trainable or frozen weights."""
    return [child for child in keras_private.sublayers(layer) if variables_of(child)]


def _unwrapped(model: keras.Layer) -> Graph:
    """The graph of `model`, or of its only layer with weights if that contains layers."""
    graph = keras_private.graph_of(model)
    while True:
        weighted = [call for call in graph.calls if call.variables]
        if len(weighted) != 1 or not isinstance(weighted[0].operation, keras.Layer):
            return graph
        inner = weighted[0].operation
        if not weighted_sublayers(inner):
            return graph
        try:
            graph = keras_private.graph_of(inner, weighted[0].arguments)
        except keras_private.UnreadableError:
            if isinstance(inner, keras.Model):
                raise
            return graph  # an LSTM: the backend calls its cell


class _Flow:
    """The order of the calls in a graph.

    Args:
        graph: The graph. Sets of calls are bit masks.
    """

    def __init__(self, graph: Graph):
        self._calls = graph.calls
        self._outputs = graph.outputs
        self._maker = {id(tensor): number for number, call in enumerate(graph.calls) for tensor in call.outputs}
        self._inputs = [[self._maker[id(t)] for t in call.inputs if id(t) in self._maker] for call in graph.calls]
        self._before: list[int] = []  # the calls a call depends on
        self._passed: list[int] = []  # its dominators: on every path from the first weights
        begun = 0
        for number, call in enumerate(graph.calls):
            before, passed = 1 << number, -1
            for source in self._inputs[number]:
                before |= self._before[source]
                passed &= self._passed[source] if begun >> source & 1 else -1
            is_begun = bool(call.variables) or any(begun >> source & 1 for source in self._inputs[number])
            begun |= is_begun << number
            self._before.append(before)
            self._passed.append((0 if passed == -1 else passed) | 1 << number)

    def last_calls(self) -> set[int]:
        """For each output, the last calls with weights."""
        return set().union(*map(self._last_before, self._outputs))

    def not_below(self, numbers: set[int]) -> set[int]:
        """The calls among these that no other one of them depends on alone."""
        return {n for n in numbers if not any(self._passed[other] >> n & 1 for other in numbers - {n})}

    def vectors_behind(self, last: set[int]) -> set[int]:
        """The operations after these calls that use the model's own vectors, such as a temperature."""
        later = (
            n for n, call in enumerate(self._calls) if call.variables and not isinstance(call.operation, keras.Layer)
        )
        return {n for n in later if any(self._before[n] >> other & 1 for other in last - {n})}

    def norms_before(self, number: int) -> set[int]:
        """The calls without a kernel between global pooling and this one, as in ConvNeXt's head."""
        found: set[int] = set()
        while len(self._inputs[number]) == 1:
            number = self._inputs[number][0]
            call = self._calls[number]
            if re.search("Global.*Pooling", type(call.operation).__name__):
                return found
            if any(map(is_kernel, call.variables)):
                break
            found.update([number] if call.variables else [])
        return set()

    def _last_before(self, tensor: keras.KerasTensor) -> set[int]:
        """The calls with weights on the path to an output that feed no other such call."""
        found: set[int] = set()
        seen: set[int] = set()
        pending = [self._maker[id(tensor)]] if id(tensor) in self._maker else []
        while pending:
            number = pending.pop()
            if number in seen:
                continue
            seen.add(number)
            call = self._calls[number]
            if (isinstance(call.operation, keras.Layer) and call.variables) or any(map(is_kernel, call.variables)):
                found.add(number)
            else:
                pending += self._inputs[number]
        return {n for n in found if not any(self._before[other] >> n & 1 for other in found - {n})}


def _parts(call: Call, below: set[int]) -> list[Part]:
    """The called layer; if it shares weights with layers below, only its unshared variables."""
    if isinstance(call.operation, keras.Layer) and not below.intersection(map(id, call.variables)):
        return [call.operation]
    return [variable for variable in call.variables if id(variable) not in below]


def _check_reached(model: keras.Layer, graph: Graph) -> None:
    """Raise if no output depends on some kernels: they may be a head used elsewhere, as in `train_step`.

    Embeddings are always the bottom: position embeddings take no input of the model.
    """
    reached = {id(variable) for call in graph.calls for variable in call.variables}
    left_out = [
        leaf.path.rpartition("/")[0] or leaf.path
        for leaf in layer_tree.walk(model)
        if leaf.variable is not None and leaf.variable.trainable and is_kernel(leaf.variable)
        if id(leaf.variable) not in reached and not isinstance(leaf.layer, keras.layers.Embedding)
    ]
    if left_out:
        names = listed(list(dict.fromkeys(left_out)))
        raise ValueError(_ask(model, f"cannot be found: no output depends on {names}, which may be head or backbone"))


def _check_blocks(model: keras.Layer, graph: Graph, last: list[keras.Operation]) -> None:
    """Raise if a last layer is a block like those before it. Two heads of one class are fine."""
    layers = {id(call.operation): call.operation for call in graph.calls}.values()
    kinds = Counter(type(layer) for layer in _expanded(layers) if is_composite(layer))
    heads = Counter(type(layer) for layer in {id(part): part for part in last}.values() if len(last) > 1)
    for layer in last:
        leaves = [leaf for leaf in _expanded([layer]) if isinstance(leaf, keras.Layer)]
        if any(kinds[type(leaf)] > max(1, heads[type(leaf)]) or is_series(leaf) for leaf in leaves):
            raise ValueError(
                _headless(model, f"its last layers, down to '{layer.name}', are blocks like those before them")
            )


def _check_head(model: keras.Layer, part: keras.Operation) -> None:
    """Raise if the last layer is the top of a backbone without a head."""
    if not isinstance(part, keras.Layer):
        return
    main = [layer for layer in _expanded([part]) if has_kernel(layer)]
    activation = getattr(getattr(main[-1] if main else None, "activation", None), "__name__", "")
    own, all_kernels = (sum(map(is_kernel, variables_of(layer))) for layer in (part, model))
    if not main:
        raise ValueError(_headless(model, f"its last layer, '{part.name}', is a {type(part).__name__}"))
    if "Conv" in type(main[-1]).__name__ and activation in RECTIFIED:
        raise ValueError(_headless(model, f"its last layer, '{part.name}', is a convolution followed by {activation}"))
    if max(MANY_KERNELS, all_kernels / 2) < own < all_kernels:
        raise ValueError(_headless(model, f"its last part, '{part.name}', is a whole network with {own} kernels"))


def _headless(model: keras.Layer, why: str) -> str:
    return (
        f"{type(model).__name__} '{model.name}' seems to have no head: {why}. Put one on top of it, such as "
        f"`keras.layers.Dense(num_classes)`; or {FIX}. With `head=None` the top of the backbone is the top of the model."
    )


def _expanded(layers: Iterable[keras.Operation]) -> Iterable[keras.Operation]:
    """The layers, with nested functional and Sequential models replaced by their layers."""
    for layer in layers:
        if isinstance(layer, keras.Layer) and is_nested_graph(layer):
            yield from _expanded(keras_private.sublayers(layer))
        else:
            yield layer


def _ask(model: keras.Layer, why: str) -> str:
    return f"The head of {type(model).__name__} '{model.name}' {why}. Please {FIX}."
