"""Group the layers of a model by depth, with the head as the last group."""

import collections
import dataclasses
import math
import re
import warnings
from collections.abc import Callable, Iterable

import keras

from difflr.depth.blocks import Blocks, common_beginning
from difflr.depth.graph import Node, is_scalar
from difflr.depth.named_head import HEAD, Target, is_default, named_head, nodes_around
from difflr.plan import Plan
from difflr.plan.targets import Targets
from difflr.text_table import counted

HEAD_HEIGHT = -1  # below that of all groups of the body


@dataclasses.dataclass(frozen=True, eq=False)
class DepthGroup:
    """Layers of a model at the same depth, such as one residual block.

    Args:
        name: The layers' common path in the layer tree, such as `"backbone/block_3"`; `"head"` for the head.
        height: The number of groups above it, towards the output; 0 at the top.
        variables: The variables of the group.
        paths: Their layer-tree paths.
        statistics: BatchNormalization layers of the group without trainable variables.
    """

    name: str
    height: int
    variables: tuple[keras.Variable, ...]
    paths: tuple[str, ...]
    statistics: tuple[keras.Layer, ...] = ()

    @property
    def ids(self) -> set[int]:
        """The ids of the group's variables, and of its layers that have only moving statistics."""
        return {*map(id, self.variables), *map(id, self.statistics)}

    @property
    def num_parameters(self) -> int:
        """The number of parameters of the group."""
        return sum(math.prod(variable.shape) for variable in self.variables)

    def __repr__(self) -> str:
        return f"<DepthGroup '{self.name}': height {self.height}, {counted(len(self.variables), 'variable')}>"


def depth_groups(
    model: keras.Layer,
    *,
    head: Target = HEAD,
    depth: Callable[[str], int | None] | None = None,
    within: Target = None,
) -> list[DepthGroup]:
    """Group the layers of `model` by depth, from bottom to head. Every variable is in exactly one group.

    Depth comes from the graph of a functional model, or from tracing one call of any other model. Blocks (residual block,
    Inception module, transformer block) are found where paths fork and merge again, or as a series of layers; failing
    that, by names such as `block2a_expand`, `block2a_project`.

    The height of a group is the number of groups above it, the head included, on the longest path to the output. Two
    towers that merge below the head each count their own blocks; their groups at the same height are one group.
    Embeddings, patch projections, class and position tokens are the bottom of their tower. A layer used at
    several depths belongs to the lowest. All heads together are one group of height 0.

    Args:
        model: A built Keras model.
        head: The target (layer, path, kind, ...; as in `difflr.Rule`) of the head, or a list of targets. Layers that take
            all their inputs from it belong to it. `None`: no head; the top of the backbone is the last group.
        depth: A function that replaces the graph: layer-tree path of a variable -> depth, an integer that grows
            towards the output, or `None` for the head. `head` is then ignored.
        within: A target or a list of targets: group only this part of the model, such as `"encoder"`. Its top has height
            0. The head is a group only if `head` names it.

    Returns:
        A list of `DepthGroup`, bottom first.

    Raises:
        ValueError: If the model is not built or has no head, or its head cannot be found in the data flow.

    Warns:
        UserWarning: If a layer contains a series of blocks but its call cannot be traced; it is then one group.

    Example:

    ```python
    for group in difflr.depth.depth_groups(model):
        print(group.height, group.name, group.num_parameters)
    ```

    Reference: groups follow timm's `group_matcher` of ViT, ConvNeXt and ResNet
    (`timm/models/_manipulate.py`).
    """
    plan = Plan(model)
    paths = {id(row.variable): row.path for row in plan.rows}
    part = None if within is None else Targets(model).ids(within)
    if depth is None:
        head = None if within is not None and is_default(head) else head
        heights, statistics = _heights(model, plan, head, part)
    else:
        heights, statistics = _given_heights(paths, depth), {}
    rows = [row for row in plan.rows if part is None or id(row.variable) in part]
    levels = sorted({heights[id(row.variable)] for row in rows}, reverse=True)
    members: dict[int, list[keras.Variable]] = {level: [] for level in levels}
    for row in rows:
        members[heights[id(row.variable)]].append(row.variable)
    all_paths = {level: [paths[id(variable)] for variable in members[level]] for level in levels}
    has_head = levels[-1] == HEAD_HEIGHT
    return [
        DepthGroup(
            name="head" if has_head and level == levels[-1] else _name(level, all_paths),
            height=len(levels) - 1 - position,
            variables=tuple(members[level]),
            paths=tuple(all_paths[level]),
            statistics=tuple(layer for layer in statistics.get(level, ()) if part is None or id(layer) in part),
        )
        for position, level in enumerate(levels)
    ]


def _heights(
    model: keras.Layer, plan: Plan, head: Target, part: set[int] | None
) -> tuple[dict[int, int], dict[int, list[keras.Layer]]]:
    """The height of each variable, by id; and for each height the layers with only moving statistics."""
    in_head = named_head(model, head)
    paths = {id(row.variable): row.path.rpartition("/")[0] for row in plan.rows}
    opened: set[int] = set()
    while True:
        nodes = nodes_around(model, in_head, opened)
        own = {number for number, node in enumerate(nodes) if node.is_weighted and node.parts <= in_head}
        places = [sorted({paths[id(v)] for v in node.variables if id(v) in paths}) for node in nodes]
        heights = Blocks(nodes, places, own).heights()
        body = [number for number in heights if part is None or nodes[number].parts & part]
        opaque = {id(nodes[number].layer) for number in body if nodes[number].is_composite}
        if len({heights[number] for number in body}) > 1 or opaque <= opened:
            break
        opened |= opaque  # the whole backbone is one layer, or several in parallel: open them
    _warn_if_unread(node for number, node in enumerate(nodes) if number in body)
    found: dict[int, int] = {}
    statistics: dict[int, list[keras.Layer]] = collections.defaultdict(list)
    for number, node in enumerate(nodes):
        height = HEAD_HEIGHT if number in own else heights.get(number)
        if height is None:
            continue
        for variable in node.variables:
            found[id(variable)] = max(height, found.get(id(variable), HEAD_HEIGHT))
        if not node.variables:
            statistics[height].append(node.layer)
    bottom, top = max(found.values(), default=0), min(found.values(), default=0)
    for row in plan.rows:  # unreached variables go to the bottom; scalars such as a temperature to the top
        found.setdefault(id(row.variable), top if is_scalar(row.variable) else bottom)
    return found | dict.fromkeys(in_head & found.keys(), HEAD_HEIGHT), statistics


def _warn_if_unread(nodes: Iterable[Node]) -> None:
    """Warn about layers whose blocks cannot be told apart."""
    for node in nodes:
        if node.unread:
            warnings.warn(
                f"Cannot read the depth of the layers in '{node.layer.name}', so they are one depth group: "
                f"{node.unread}. Use `keras.ops` in it, or pass `depth=`, a function path -> depth.",
                stacklevel=4,
            )


def _given_heights(paths: dict[int, str], depth: Callable[[str], int | None]) -> dict[int, int]:
    given: dict[int, int | None] = {}
    for variable, path in paths.items():
        value = given[variable] = depth(path)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise ValueError(
                "`depth` must return an integer that grows towards the output, or None for the head. "
                f"Received: {value!r} for '{path}'."
            )
    top = max((value for value in given.values() if value is not None), default=0)
    return {variable: HEAD_HEIGHT if value is None else top - value for variable, value in given.items()}


def _name(level: int, paths: dict[int, list[str]]) -> str:
    """The common path of the layers of a group, or its first and last layer."""
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
