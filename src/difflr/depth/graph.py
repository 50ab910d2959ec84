"""What is computed after what: the graph of a model, down to the layers that a depth can be given to.

Nested functional and Sequential models are laid open. A layer made by code is one node, unless it holds a series of
blocks (`blocks/0`, `blocks/1`, ...; `transformer_block_1`, ...), which are then taken one after another.
"""

import collections
import dataclasses
import re
from collections.abc import Collection

import keras

from difflr import keras_private
from difflr.plan import layer_tree

PARALLEL = re.compile(r"expert|head|branch")  # series whose members stand side by side


@dataclasses.dataclass(eq=False)
class Node:
    """One call of a layer or operation.

    Args:
        layer: The layer or operation.
        inputs: The positions of the nodes it takes its inputs from, all smaller than its own.
        variables: The variables in it that were made to be trained.
    """

    layer: keras.Operation
    inputs: list[int]
    variables: list[keras.Variable]

    @property
    def is_weighted(self) -> bool:
        """Whether it has something to train, or statistics."""
        return bool(self.variables) or isinstance(self.layer, keras.layers.BatchNormalization)

    @property
    def is_norm(self) -> bool:
        """Whether it is a normalisation layer."""
        return any("norm" in cls.__name__.lower() for cls in type(self.layer).__mro__)

    @property
    def is_embedding(self) -> bool:
        """Whether it is an embedding, of tokens, positions or segments."""
        return any("embedding" in cls.__name__.lower() for cls in type(self.layer).__mro__)

    @property
    def is_main(self) -> bool:
        """Whether it has a kernel of its own, so that it may count as a layer of the network.

        Vectors are none, nor is what is added or multiplied along an axis of size 1: class and position tokens, scales.
        """
        return not self.is_norm and any(
            len(variable.shape) >= 2 and (variable.shape[0] != 1 or variable.name.endswith("kernel"))
            for variable in self.variables
        )

    @property
    def is_composite(self) -> bool:
        """Whether it is a layer made of several layers with kernels, such as a transformer block."""
        if not isinstance(self.layer, keras.Layer):
            return False
        inner = [Node(layer, [], all_variables(layer)) for layer in weighted_sublayers(self.layer)]
        return sum(node.is_main for node in inner) > 1


def weighted_sublayers(layer: keras.Layer) -> list[keras.Layer]:
    """The layers directly below `layer` that have something to train."""
    return [child for child in keras_private.sublayers(layer) if all_variables(child)]


def all_variables(layer: keras.Layer) -> list[keras.Variable]:
    """The variables in `layer`, at all depths, that were made to be trained; each once."""
    return [leaf.variable for leaf in layer_tree.walk(layer) if leaf.variable is not None]


def graph_of(model: keras.Layer, opened: Collection[int] = ()) -> list[Node]:
    """The nodes of `model`, each after those it takes its inputs from.

    Args:
        model: A built model or layer.
        opened: Layers, by id, that are taken apart whatever they are.
    """
    builder = _Builder({id(model), *opened})
    builder.add(model, [])
    return builder.nodes


class _Builder:
    def __init__(self, opened: set[int]):
        self._opened = opened
        self.nodes: list[Node] = []

    def add(self, layer: keras.Operation, inputs: list[int]) -> list[int]:
        """Adds the nodes of one call; returns those of its outputs."""
        if isinstance(layer, keras_private.Functional) and type(layer).call is keras_private.Functional.call:
            return self._add_functional(layer, inputs)
        if isinstance(layer, keras.Sequential):
            children = layer.layers
        elif isinstance(layer, keras.Layer) and (id(layer) in self._opened or is_stack(layer)):
            children = weighted_sublayers(layer)
        else:
            children = []
        if not children:
            variables = all_variables(layer) if isinstance(layer, keras.Layer) else []
            self.nodes.append(Node(layer, sorted(set(inputs)), variables))
            return [len(self.nodes) - 1]
        start = len(self.nodes)
        for child in children:
            inputs = self.add(child, inputs)
        # Class and position tokens that the layer itself owns stand at its bottom.
        self.nodes[start].variables = keras_private.own_trainable_variables(layer) + self.nodes[start].variables
        return inputs

    def _add_functional(self, model: keras_private.Functional, inputs: list[int]) -> list[int]:
        found: dict[int, list[int]] = {}
        outside = [id(tensor) for tensor in model.inputs]
        if len(inputs) == len(outside):
            found = {tensor: [node] for tensor, node in zip(outside, inputs, strict=True)}
        else:
            found = {tensor: list(inputs) for tensor in outside}
        for operation, taken, given in keras_private.graph(model):
            if isinstance(operation, keras.layers.InputLayer) or all(tensor in found for tensor in given):
                continue
            before = [node for tensor in taken for node in found.get(tensor, [])]
            after = self.add(operation, before)
            for position, tensor in enumerate(given):
                found[tensor] = [after[position]] if len(after) == len(given) else after
        return [node for tensor in model.outputs for node in found.get(id(tensor), [])]


def is_stack(layer: keras.Layer) -> bool:
    """Whether `layer` holds a series of blocks that follow one another, itself or further inside."""
    children = weighted_sublayers(layer)
    if isinstance(layer, (keras_private.Functional, keras.Sequential)):
        return len(children) > 1
    names = layer_tree.layer_names(layer, children, saved=False)
    series: collections.Counter[tuple[str, type]] = collections.Counter()
    for child, name in zip(children, names, strict=True):
        if re.search(r"\d", name) and not PARALLEL.search(name) and len(weighted_sublayers(child)) > 1:
            series[re.sub(r"\d+", "#", name), type(child)] += 1
    inner = [child for child in children if not isinstance(child, (keras_private.Functional, keras.Sequential))]
    return max(series.values(), default=0) > 1 or any(is_stack(child) for child in inner)
