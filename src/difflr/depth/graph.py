"""The graph of a model, down to the layers that can have a depth.

Nested functional and Sequential models are expanded, and so are subclassed layers that contain a series of blocks
(`blocks/0`, `blocks/1`, ...; `transformer_block_1`, ...). Every other layer is one node.
"""

import dataclasses
from collections.abc import Collection

import keras

from difflr import keras_private
from difflr.keras_private import Arguments, Graph
from difflr.plan.head import is_composite, is_kernel, is_nested_graph, is_norm, is_series


@dataclasses.dataclass(eq=False)
class Node:
    """One call of a layer or operation.

    Args:
        layer: The layer or operation.
        inputs: The positions of its input nodes, all smaller than its own.
        variables: Its variables that were created as trainable.
        unread: Why it is one node although it contains a series of blocks; else empty.
    """

    layer: keras.Operation
    inputs: list[int]
    variables: list[keras.Variable]
    unread: str = ""

    @property
    def is_weighted(self) -> bool:
        """Whether it has trainable variables or moving statistics."""
        return bool(self.variables) or isinstance(self.layer, keras.layers.BatchNormalization)

    @property
    def is_embedding(self) -> bool:
        """Whether it embeds tokens, positions or segments."""
        return any("embedding" in cls.__name__.lower() for cls in type(self.layer).__mro__)

    @property
    def is_main(self) -> bool:
        """Whether it has its own kernel and so can count as a layer of the network."""
        return not is_norm(self.layer) and any(map(is_kernel, self.variables))

    @property
    def is_composite(self) -> bool:
        """Whether it is a layer made of several layers with kernels, such as a transformer block."""
        return is_composite(self.layer)

    @property
    def parts(self) -> set[int]:
        """The ids of its variables; the id of the layer if it has only moving statistics."""
        return set(map(id, self.variables or [self.layer]))


def is_scalar(variable: keras.Variable) -> bool:
    """Whether a variable is a single number, such as a temperature."""
    return all(size == 1 for size in variable.shape)


def without_weightless_beginnings(nodes: list[Node]) -> list[list[int]]:
    """The inputs of each node, except those computed before any weight: inputs, masks, rescaling."""
    begun = [False] * len(nodes)
    result: list[list[int]] = []
    for number, node in enumerate(nodes):
        result.append([source for source in node.inputs if begun[source]])
        begun[number] = node.is_weighted or bool(result[-1])
    return result


def nodes_of(model: keras.Layer, opened: Collection[int] = ()) -> list[Node]:
    """The nodes of `model` in topological order.

    Args:
        model: A built model or layer.
        opened: Ids of layers to expand whatever they are.
    """
    builder = _Builder({id(model), *opened})
    builder.add(Node(model, [], keras_private.all_trainable_variables(model)), [], None)
    return builder.nodes


class _Builder:
    def __init__(self, opened: set[int]):
        self._opened = opened
        self.nodes: list[Node] = []

    def add(self, node: Node, inputs: list[list[int]], arguments: Arguments | None) -> list[list[int]]:
        """Add one call, as one node or expanded.

        Args:
            node: The call as one node.
            inputs: For each input tensor, the nodes it comes from.
            arguments: Its call arguments, if known.

        Returns:
            For each output tensor, the nodes it comes from; a single entry stands for all.
        """
        layer = node.layer
        if isinstance(layer, keras.Layer) and (id(layer) in self._opened or is_nested_graph(layer) or is_series(layer)):
            try:
                return self._add_inside(layer, keras_private.graph_of(layer, arguments), inputs)
            except keras_private.UnreadableError as error:
                node.unread = str(error)
        node.inputs = sorted({number for tensor in inputs for number in tensor})
        self.nodes.append(node)
        return [[len(self.nodes) - 1]]

    def _add_inside(self, layer: keras.Layer, graph: Graph, inputs: list[list[int]]) -> list[list[int]]:
        start = len(self.nodes)
        if len(inputs) != len(graph.inputs):
            inputs = [[number for tensor in inputs for number in tensor]] * len(graph.inputs)
        sources = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for call in graph.calls:
            before = [sources.get(id(tensor), []) for tensor in call.inputs]
            after = self.add(Node(call.operation, [], call.variables), before, call.arguments)
            after = (
                after
                if len(after) == len(call.outputs)
                else [[n for tensor in after for n in tensor]] * len(call.outputs)
            )
            sources.update(zip(map(id, call.outputs), after, strict=True))
        if len(self.nodes) > start:  # class and position tokens whose use is not seen go to the bottom
            seen = {part for node in self.nodes[start:] for part in node.parts}
            own = keras_private.own_trainable_variables(layer)
            own = [variable for variable in own if id(variable) not in seen and not is_scalar(variable)]
            self.nodes[start].variables = own + self.nodes[start].variables
        return [sources.get(id(tensor), []) for tensor in graph.outputs]
