"""What is computed after what: the graph of a model, down to the layers that a depth can be given to.

Functional and Sequential models in it are laid open, and so is a layer made by code that holds a series of blocks
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
        inputs: The positions of the nodes it takes its inputs from, all smaller than its own.
        variables: The variables in it that were made to be trained.
        unread: Why it is one node although it holds a series of blocks; else empty.
    """

    layer: keras.Operation
    inputs: list[int]
    variables: list[keras.Variable]
    unread: str = ""

    @property
    def is_weighted(self) -> bool:
        """Whether it has something to train, or statistics."""
        return bool(self.variables) or isinstance(self.layer, keras.layers.BatchNormalization)

    @property
    def is_embedding(self) -> bool:
        """Whether it is an embedding, of tokens, positions or segments."""
        return any("embedding" in cls.__name__.lower() for cls in type(self.layer).__mro__)

    @property
    def is_main(self) -> bool:
        """Whether it has a kernel of its own, so that it may count as a layer of the network."""
        return not is_norm(self.layer) and any(map(is_kernel, self.variables))

    @property
    def is_composite(self) -> bool:
        """Whether it is a layer made of several layers with kernels, such as a transformer block."""
        return is_composite(self.layer)

    @property
    def parts(self) -> set[int]:
        """The identities of its variables; of the layer where it has statistics only."""
        return set(map(id, self.variables or [self.layer]))


def is_scalar(variable: keras.Variable) -> bool:
    """Whether a variable is one number, such as a temperature."""
    return all(size == 1 for size in variable.shape)


def nodes_of(model: keras.Layer, opened: Collection[int] = ()) -> list[Node]:
    """The nodes of `model`, each after those it takes its inputs from.

    Args:
        model: A built model or layer.
        opened: Layers, by id, that are taken apart whatever they are.
    """
    builder = _Builder({id(model), *opened})
    builder.add(Node(model, [], keras_private.all_trainable_variables(model)), [], None)
    return builder.nodes


class _Builder:
    def __init__(self, opened: set[int]):
        self._opened = opened
        self.nodes: list[Node] = []

    def add(self, node: Node, inputs: list[list[int]], arguments: Arguments | None) -> list[list[int]]:
        """Adds one call, whole or taken apart.

        Args:
            node: The call as one node.
            inputs: For each tensor it takes, the nodes it comes from.
            arguments: What it is called with, where known.

        Returns:
            For each tensor it returns, the nodes it comes from; a single entry stands for all.
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
        if len(self.nodes) > start:  # class and position tokens whose use is not seen stand at the bottom
            seen = {part for node in self.nodes[start:] for part in node.parts}
            own = [each for each in keras_private.own_trainable_variables(layer) if id(each) not in seen]
            own = [variable for variable in own if not is_scalar(variable)]
            self.nodes[start].variables = own + self.nodes[start].variables
        return [sources.get(id(tensor), []) for tensor in graph.outputs]
