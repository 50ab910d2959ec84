"""Find the variables of the head."""

from collections.abc import Collection

import keras

from difflr.depth.graph import Node, nodes_of, without_weightless_beginnings
from difflr.plan import layer_tree
from difflr.plan.head import head_of, weighted_sublayers
from difflr.plan.targets import Targets

HEAD = "kind:head"

Target = object  # a layer, variable, path pattern, kind or function, as in `difflr.Rule`; or a list of these


def named_head(model: keras.Layer, head: Target = HEAD) -> set[int]:
    """The head that `head` names, with the layers that take all their inputs from it.

    Args:
        model: A built model.
        head: The target of the head, or a list of targets. `"kind:head"`: found in the data flow. `None`: no head.

    Returns:
        The ids of its variables, and of its layers that have only moving statistics.

    Raises:
        ValueError: If it matches nothing or only parts of layers, or the head cannot be found.
    """
    leaves = layer_tree.walk(model)
    target = head_of(model) if is_default(head) else head
    if not target:
        return set()
    found = Targets(model, leaves).ids(target)
    if not {id(leaf.layer) for leaf in leaves} - {id(leaf.layer) for leaf in leaves if id(leaf.owner) not in found}:
        raise ValueError(
            f"`head` must cover whole layers, such as `model.get_layer(...)`. Received: {head!r}, which "
            "covers only part of a layer."
        )
    if is_default(head):
        return found
    return found | _after(nodes_around(model, found), found)


def nodes_around(model: keras.Layer, head: set[int], opened: Collection[int] = ()) -> list[Node]:
    """The nodes of `model`, expanded until none is partly in the head, as far as the graph can be read.

    Args:
        model: A built model.
        head: The ids of the head's variables and layers.
        opened: Ids of layers to expand whatever they are.
    """
    opened = {id(model), *opened}
    while True:
        nodes = nodes_of(model, opened)
        cut = [node.layer for node in nodes if node.parts & head and not node.parts <= head]
        new = {id(layer) for layer in cut if isinstance(layer, keras.Layer) and weighted_sublayers(layer)}
        if new <= opened:
            return nodes
        opened |= new


def is_default(head: Target) -> bool:
    """Whether to find the head in the data flow."""
    return isinstance(head, str) and head == HEAD


def _after(nodes: list[Node], head: set[int]) -> set[int]:
    """The parts of nodes that take all their inputs from the head, ignoring what is computed before any weight."""
    is_after = [False] * len(nodes)
    for number, (node, sources) in enumerate(zip(nodes, without_weightless_beginnings(nodes), strict=True)):
        in_head = node.is_weighted and node.parts <= head
        is_after[number] = in_head or (bool(sources) and all(is_after[source] for source in sources))
    weighted = [number for number, node in enumerate(nodes) if node.is_weighted]
    after = {part for number in weighted if is_after[number] for part in nodes[number].parts}
    return after - {part for number in weighted if not is_after[number] for part in nodes[number].parts}
