"""How deep the layers of a model lie, and which of them are its head."""

import collections
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

import keras

from difflr.depth.blocks import Blocks, common_beginning
from difflr.depth.graph import Node, graph_of
from difflr.plan import Plan, layer_tree
from difflr.plan.targets import Targets

HEAD = "kind:head"
HEAD_HEIGHT = -1  # below that of all groups of the body


@dataclasses.dataclass(frozen=True, eq=False)
class DepthGroup:
    """Layers of a model that lie equally deep, such as one residual block.

    Args:
        name: What they have in common in the layer tree, such as `"backbone/block_3"`; `"head"` for the head.
        height: How many groups lie above it, on the way to the output; 0 at the top.
        variables: The variables it holds.
        paths: Their layer-tree paths.
        statistics: BatchNormalization layers in it that have nothing to train.
    """

    name: str
    height: int
    variables: tuple[keras.Variable, ...]
    paths: tuple[str, ...]
    statistics: tuple[keras.Layer, ...] = ()

    @property
    def num_parameters(self) -> int:
        """How many numbers its variables hold."""
        return sum(math.prod(variable.shape) for variable in self.variables)

    def __repr__(self) -> str:
        return f"<DepthGroup '{self.name}': height {self.height}, {len(self.variables)} variables>"


def depth_groups(
    model: keras.Layer, *, head: Any = HEAD, depth: Callable[[str], int | None] | None = None
) -> list[DepthGroup]:
    """The layers of `model` in groups, from the bottom to the head; every variable is in exactly one.

    Depth is read off the graph: what a block is (a residual block, an Inception module, a transformer block) is decided
    by where its paths fork and meet again, or by the series of layers that holds it; where neither helps, by names such
    as `block2a_expand`, `block2a_project`. A group's height is the number of groups above it on the longest way to the
    output, so two towers that meet below the head each count their own blocks, and groups of different towers at the same
    height are one. Embeddings, patch projections, class and position tokens are the bottom of their tower. A layer
    that is used at several depths belongs to the lowest.

    Args:
        model: A built Keras model.
        head: The target (layer, path, kind, ...; as in `difflr.Rule`) that is the head, with whatever comes after it.
            `None`: the model has none, and the top of its body is the last group.
        depth: A function that decides instead of the graph: layer-tree path of a variable -> its depth, a whole
            number, larger nearer to the output; `None` for the head. With it `head` counts for nothing.

    Returns:
        A list of `DepthGroup`, bottom first.

    Raises:
        ValueError: If the model is not built, or has no head.

    Example:

    ```python
    for group in difflr.depth.depth_groups(model):
        print(group.height, group.name, group.num_parameters)
    ```

    Reference: what is one group follows timm's `group_matcher` of ViT, ConvNeXt and ResNet
    (`timm/models/_manipulate.py`).
    """
    plan = Plan(model)
    paths = {id(row.variable): row.path for row in plan.rows}
    if depth is None:
        heights, statistics = _heights(model, plan, head)
    else:
        heights, statistics = _given_heights(paths, depth), {}
    levels = sorted(set(heights.values()), reverse=True)
    members: dict[int, list[keras.Variable]] = {level: [] for level in levels}
    for row in plan.rows:
        members[heights[id(row.variable)]].append(row.variable)
    all_paths = {level: [paths[id(variable)] for variable in members[level]] for level in levels}
    has_head = levels[-1] == HEAD_HEIGHT
    return [
        DepthGroup(
            name="head" if has_head and level == levels[-1] else _name(level, all_paths),
            height=len(levels) - 1 - position,
            variables=tuple(members[level]),
            paths=tuple(all_paths[level]),
            statistics=tuple(statistics.get(level, ())),
        )
        for position, level in enumerate(levels)
    ]


def _heights(model: keras.Layer, plan: Plan, head: Any) -> tuple[dict[int, int], dict[int, list[keras.Layer]]]:
    """Variable, by id -> height; and the layers of each height that have statistics only."""
    leaves = layer_tree.walk(model)
    in_head: set[int] = set()
    if head is not None:
        in_head = {id(leaves[position].variable) for position, _ in Targets(leaves, model).match(head)}
    paths = {id(row.variable): row.path.rpartition("/")[0] for row in plan.rows}
    opened: set[int] = set()
    while True:
        nodes = graph_of(model, opened)
        if head is not None and not _is_default(head):
            in_head |= _above(nodes, in_head)
        heads = _heads(nodes, in_head)
        _check_head(model, nodes, heads, head)
        blocks = Blocks(nodes, [sorted({paths[id(v)] for v in node.variables}) for node in nodes], heads)
        heights = blocks.heights()
        bodies = {heights[n] for n in heights if not any(n in each for each in heads)}
        opaque = [nodes[n].layer for n in heights if nodes[n].is_composite and not any(n in each for each in heads)]
        if len(bodies) > 1 or len({id(layer) for layer in opaque}) != 1 or id(opaque[0]) in opened:
            break
        opened.add(id(opaque[0]))  # the whole body in one layer: look into it
    found: dict[int, int] = {}
    statistics: dict[int, list[keras.Layer]] = collections.defaultdict(list)
    for number, height in heights.items():
        for variable in nodes[number].variables:
            found[id(variable)] = max(height, found.get(id(variable), 0))
        if not nodes[number].variables:
            statistics[height].append(nodes[number].layer)
    bottom = max(found.values(), default=0)
    for row in plan.rows:  # what the graph does not reach
        found.setdefault(id(row.variable), 0 if id(row.variable) in in_head else bottom)
    if any(found[variable] == 0 for variable in in_head):  # a head tied to the embeddings is not at the top
        found = {variable: height or HEAD_HEIGHT for variable, height in found.items()}
    return found, statistics


def _is_default(head: Any) -> bool:
    return isinstance(head, str) and head == HEAD


def _above(nodes: list[Node], in_head: set[int]) -> set[int]:
    """The variables, by id, of what takes its input from a layer of the head: they are the head's too."""
    above = [False] * len(nodes)
    for number, node in enumerate(nodes):
        whole = bool(node.variables) and _all_in(node, in_head)
        above[number] = whole or any(above[source] for source in node.inputs)
    started = [number for number, node in enumerate(nodes) if above[number] and node.variables]
    return {id(variable) for number in started for variable in nodes[number].variables}


def _heads(nodes: list[Node], in_head: set[int]) -> list[set[int]]:
    """For each head, its nodes: neighbours in the graph whose variables all are the head's, with only them above."""
    below_body = [False] * len(nodes)
    for number in reversed(range(len(nodes))):
        body = nodes[number].is_weighted and not _all_in(nodes[number], in_head)
        for source in nodes[number].inputs if body or below_body[number] else ():
            below_body[source] = True
    heads: list[set[int]] = []
    for number, node in enumerate(nodes):
        if node.variables and _all_in(node, in_head) and not below_body[number]:
            for head in heads:
                if _joined(nodes, number, head):
                    head.add(number)
                    break
            else:
                heads.append({number})
    return heads


def _all_in(node: Node, variables: set[int]) -> bool:
    return all(id(variable) in variables for variable in node.variables)


def _joined(nodes: list[Node], number: int, head: set[int]) -> bool:
    """Whether the node takes its input from `head`, directly or through nodes without weights."""
    pending, seen = list(nodes[number].inputs), set()
    while pending:
        each = pending.pop()
        if each in head:
            return True
        if each not in seen and not nodes[each].is_weighted:
            seen.add(each)
            pending += nodes[each].inputs
    return False


RECTIFIED = ("relu", "relu6", "gelu", "silu", "swish", "leaky_relu", "elu", "selu", "mish")


def _check_head(model: keras.Layer, nodes: list[Node], heads: list[set[int]], head: Any) -> None:
    """Raises where the last layers with weights are the top of a body without a head, or only a part was named."""
    if head is not None and not heads:
        raise ValueError(
            f"`head` must be a target that covers whole layers, such as `model.get_layer(...)`. Received: {head!r}, which "
            "is only a part of a layer."
        )
    if not _is_default(head):
        return
    kinds = collections.Counter(type(node.layer) for node in nodes if node.is_composite)
    for members in heads:
        last = nodes[max(members)].layer
        name, kind = last.name, type(last).__name__
        activation = getattr(getattr(last, "activation", None), "__name__", "")
        if not any(nodes[number].is_main for number in members):
            why = f"its last layer, '{name}', is a {kind}"
        elif any(nodes[number].is_composite and kinds[type(nodes[number].layer)] > 1 for number in members):
            why = f"its last layers, down to '{name}', are blocks like those before them"
        elif "Conv" in kind and activation in RECTIFIED:
            why = f"its last layer, '{name}', is a convolution followed by {activation}"
        else:
            continue
        raise ValueError(
            f"{type(model).__name__} '{model.name}' seems to have no head: {why}. Put one on top of it, such as "
            "`keras.layers.Dense(num_classes)`; or say which layer is the head, as in `head=model.get_layer(...)`; or "
            "give `head=None`: then the top of the body counts as the top of the model."
        )


def _given_heights(paths: dict[int, str], depth: Callable[[str], int | None]) -> dict[int, int]:
    given: dict[int, int | None] = {}
    for variable, path in paths.items():
        value = given[variable] = depth(path)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(
                "`depth` must return a whole number, larger nearer to the output, or None for the head. "
                f"It returned {value!r} for '{path}'."
            )
    top = max((value for value in given.values() if value is not None), default=0)
    return {variable: HEAD_HEIGHT if value is None else top - value for variable, value in given.items()}


def _name(level: int, paths: dict[int, list[str]]) -> str:
    """What the layers of a group have in common, or its first and last layer."""
    layers = [re.split("([/_])", path.rpartition("/")[0] or path) for path in paths[level]]
    common = common_beginning(layers)
    while common and common[-1] in ("/", "_", ""):
        common = common[:-1]
    others = [re.split("([/_])", path) for other, listed in paths.items() if other != level for path in listed]
    whole = common[: len(common) - common[::-1].index("/") - 1] if "/" in common else common
    for name in (whole, common):
        if name and not any(other[: len(name)] == name for other in others):
            return "".join(name)
    first, last = "".join(layers[0]), "".join(layers[-1])
    return first if first == last else f"{first} to {last}"
