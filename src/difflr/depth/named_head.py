"""Which variables are the head."""

from collections.abc import Collection

import keras

from difflr.depth.graph import Node, nodes_of
from difflr.plan import layer_tree
from difflr.plan.head import head_of, weighted_sublayers
from difflr.plan.targets import Targets

HEAD = "kind:head"

Target = object  # a layer, variable, path pattern, kind or function, as in `difflr.Rule`; or a list of these


def named_head(model: keras.Layer, head: Target = HEAD) -> set[int]:
    """What `head` names, with whatever takes all its inputs from it.

    Args:
        model: A built model.
        head: The target that is the head, or a list of targets. `"kind:head"`: it is read off the data flow. `None`: there
            is none.

    Returns:
        The identities of its variables, and of its layers that have statistics only.

    Raises:
        ValueError: If it names nothing, or only parts of layers, or cannot be read.
    """
    leaves = layer_tree.walk(model)
    targets = head_of(model) if is_default(head) else [] if head is None else as_list(head)
    found = ids_of(model, targets, leaves)
    if targets and not _whole_layers(leaves, found):
        raise ValueError(
            f"`head` must be a target that covers whole layers, such as `model.get_layer(...)`. Received: {head!r}, which "
            "is only a part of a layer."
        )
    if head is None or is_default(head):
        return found
    return found | _after(nodes_around(model, found), found)


def nodes_around(model: keras.Layer, head: set[int], opened: Collection[int] = ()) -> list[Node]:
    """The nodes of `model`, so fine that none is in the head in part, as far as that can be read.

    Args:
        model: A built model.
        head: The identities of what is the head.
        opened: Layers, by id, that are taken apart whatever they are.
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
    """Whether the head is to be read off the data flow."""
    return isinstance(head, str) and head == HEAD


def as_list(target: Target) -> list[Target]:
    """The targets, without layers that have no weights where there are others, as in `model.layers[-3:]`."""
    if not isinstance(target, (list, tuple)):
        return [target]
    return [each for each in target if not isinstance(each, keras.Layer) or each.weights] or list(target)


def ids_of(model: keras.Layer, targets: list[Target], leaves: list[layer_tree.Leaf]) -> set[int]:
    """The identities of the variables that the targets name, and of the layers that have statistics only."""
    known = Targets(leaves, model)
    matched = {position for target in targets for position, _ in known.match(target)}
    return {_id(leaves[position]) for position in matched}


def _id(leaf: layer_tree.Leaf) -> int:
    return id(leaf.layer if leaf.variable is None else leaf.variable)


def _whole_layers(leaves: list[layer_tree.Leaf], found: set[int]) -> set[int]:
    """The layers, by id, of which all variables are found."""
    owners = {id(leaf.layer) for leaf in leaves}
    return owners - {id(leaf.layer) for leaf in leaves if _id(leaf) not in found}


def _after(nodes: list[Node], head: set[int]) -> set[int]:
    """The parts of the nodes that take all their inputs from the head, whatever else is computed before any weight."""
    is_begun, is_after = [False] * len(nodes), [False] * len(nodes)
    for number, node in enumerate(nodes):
        sources = [source for source in node.inputs if is_begun[source]]
        is_begun[number] = node.is_weighted or bool(sources)
        in_head = node.is_weighted and node.parts <= head
        is_after[number] = in_head or (bool(sources) and all(is_after[source] for source in sources))
    weighted = [number for number, node in enumerate(nodes) if node.is_weighted]
    after = {part for number in weighted if is_after[number] for part in nodes[number].parts}
    return after - {part for number in weighted if not is_after[number] for part in nodes[number].parts}
