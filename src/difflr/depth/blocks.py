"""Group the nodes of a model's graph into blocks, each with one depth.

Structure comes first. A fork whose paths all merge again (a residual block, an Inception module, a
squeeze-and-excite gate) is one block, unless it is a U-Net skip connection or longer than `LONGEST_BLOCK`. Names decide
the rest: a norm joins the layer it normalizes, and consecutive layers with matching names (`block2a_expand`,
`block2a_project`) form a block.

A fork ends at its immediate post-dominator (Lengauer and Tarjan, "A fast algorithm for finding dominators in a
flowgraph", 1979). Sets of nodes are bit masks, which is fast enough for a thousand nodes.
"""

import collections
import graphlib
import itertools
import re
from collections.abc import Iterable

from difflr.depth.graph import Node, without_weightless_beginnings
from difflr.plan import layer_tree

LONGEST_BLOCK = 6  # consecutive layers with a kernel; MBConv with squeeze-and-excite has 5
NUMBERED = re.compile(r"(?!.*\dd$)\D*\d+[a-z]?")  # "block1a", "fire2", "3", but not "conv2d"


class Blocks:
    """Merge the nodes of a graph into blocks, step by step.

    Args:
        nodes: The graph.
        paths: The layer-tree paths of the layers of each node.
        head: The nodes of the head. They belong to no block and do not affect depth.
    """

    def __init__(self, nodes: list[Node], paths: list[list[str]], head: set[int]):
        self._nodes = nodes
        self._paths = paths
        self._head = head
        self._inputs = without_weightless_beginnings(nodes)
        self._outputs: list[list[int]] = [[] for _ in nodes]
        for number, inputs in enumerate(self._inputs):
            for source in inputs:
                self._outputs[source].append(number)
        self._block = list(range(len(nodes)))
        self._known_members: dict[int, list[int]] | None = None  # until blocks are joined again
        self._gates: set[int] = set()  # squeeze-and-excite
        self._join_forks()
        self._join_branches()
        self._attach_what_has_no_kernel()
        self._join_embeddings()
        self._join_named()
        self._join_attention_and_feed_forward()
        self._join_transitions()

    def heights(self) -> dict[int, int]:
        """The height of each weighted backbone node: the blocks above it on the longest path to an output."""
        while True:
            above = self._blocks_above()
            try:
                order = list(graphlib.TopologicalSorter(above).static_order())
                break
            except graphlib.CycleError as error:  # blocks in a cycle are one block
                self._join(error.args[1])
        height: dict[int, int] = {}
        for block in order:
            height[block] = max((height[other] + 1 for other in above[block]), default=0)
        return {
            number: height[self._find(number)]
            for number, node in enumerate(self._nodes)
            if self._find(number) in height and node.is_weighted and number not in self._head
        }

    # Union-find.

    def _find(self, number: int) -> int:
        while self._block[number] != number:
            self._block[number] = self._block[self._block[number]]
            number = self._block[number]
        return number

    def _join(self, numbers: Iterable[int]) -> None:
        roots = {self._find(number) for number in numbers}
        if len(roots) > 1:
            self._known_members = None
        for root in roots:
            self._block[root] = min(roots)

    def _members(self) -> dict[int, list[int]]:
        if self._known_members is None:
            self._known_members = collections.defaultdict(list)
            for number in range(len(self._nodes)):
                self._known_members[self._find(number)].append(number)
        return self._known_members

    # Structure.

    def _join_forks(self) -> None:
        count = len(self._nodes)
        after, before = [0] * count, [0] * count  # nodes reachable from a node; nodes that reach it
        for number in range(count):
            before[number] = 1 << number
            for source in self._inputs[number]:
                before[number] |= before[source]
        must_pass = [0] * count  # post-dominators: on every path to an output
        for number in reversed(range(count)):
            after[number] = 1 << number
            must_pass[number] = -1 if self._outputs[number] else 0
            for target in self._outputs[number]:
                after[number] |= after[target]
                must_pass[number] &= must_pass[target]
            must_pass[number] |= 1 << number
        for fork in range(count):
            ends = must_pass[fork] & ~(1 << fork)
            if len(self._outputs[fork]) < 2 or not ends or self._is_weightless_beginning(fork):
                continue
            end = max(_positions(ends), key=lambda number: must_pass[number].bit_count())
            inside = after[fork] & before[end] & ~(1 << fork)
            if not self._nodes[end].is_weighted and self._is_closed(inside, fork, end):
                members = _positions(inside)
                if self._can_be_a_block(members) and not self._continues(fork, members):
                    self._join(members)
                    if type(self._nodes[end].layer).__name__ == "Multiply" and self._inputs[end].count(fork):
                        self._gates.update(members)

    def _is_closed(self, inside: int, fork: int, end: int) -> bool:
        """Whether the nodes `inside` are entered from `fork` only."""
        allowed = inside | 1 << fork
        return all(allowed >> source & 1 for number in _positions(inside) for source in self._inputs[number])

    def _can_be_a_block(self, members: list[int]) -> bool:
        """Whether the nodes between a fork and its end can be one block.

        They cannot if they are a U-Net level, a large part of the network, or a head that several pyramid levels
        share (its layers are called once per level).
        """
        layers = [id(self._nodes[number].layer) for number in members if self._nodes[number].is_weighted]
        if len(set(layers)) < len(layers):
            return False
        kinds = [type(self._nodes[number].layer).__name__ for number in members]
        if self._head.intersection(members) or any(re.search("Transpose|UpSampling", kind) for kind in kinds):
            return False
        return self._longest_way(members) <= LONGEST_BLOCK

    def _continues(self, fork: int, members: list[int]) -> bool:
        """Whether the fork's series of blocks continues, as when a decoder takes features from several blocks."""
        node = self._nodes[fork]
        return node.is_composite and any(type(self._nodes[n].layer) is type(node.layer) for n in members)

    def _longest_way(self, members: list[int]) -> int:
        longest: dict[int, int] = {}
        for number in members:
            so_far = max((longest.get(source, 0) for source in self._inputs[number]), default=0)
            longest[number] = so_far + self._nodes[number].is_main
        return max(longest.values())

    def _join_branches(self) -> None:
        """Join each path from a fork to the block where it merges with others, as in NASNet's cells."""
        for fork, outputs in enumerate(self._outputs):
            if len(outputs) < 2 or self._is_weightless_beginning(fork):
                continue
            ways = [self._way_from(number) for number in outputs]
            calls = collections.Counter(id(self._nodes[number].layer) for way in ways for number in set(way[:-1]))
            for way in ways:
                shared = any(calls[id(self._nodes[number].layer)] > 1 for number in way[:-1])
                if not self._is_meeting(way[-1]) or shared or self._head.intersection(way):
                    continue
                if not any(self._continues(fork, other) for other in ways):
                    self._join(way)

    def _way_from(self, number: int) -> list[int]:
        """The nodes from this one up to the next merge, fork or output."""
        way = [number]
        while len(self._outputs[way[-1]]) == 1 and not self._is_meeting(way[-1]):
            way.append(self._outputs[way[-1]][0])
        return way

    def _is_meeting(self, number: int) -> bool:
        return len(self._inputs[number]) > 1 and not self._nodes[number].is_weighted

    def _is_weightless_beginning(self, number: int) -> bool:
        return not self._inputs[number] and not self._nodes[number].is_weighted

    # What structure does not decide.

    def _neighbors(self, number: int, edges: list[list[int]]) -> tuple[set[int], bool]:
        """The nearest blocks along `edges`, and whether global pooling comes before them."""
        own, found, seen, pooled = self._find(number), set(), set(), False
        settled = {self._find(n) for n, node in enumerate(self._nodes) if node.is_main and n not in self._head}
        roots = enumerate(map(self._find, range(len(self._nodes))))
        pending = [neighbor for n, root in roots if root == own for neighbor in edges[n]]
        while pending:
            node = pending.pop()
            if node in seen or self._find(node) == own:
                continue
            seen.add(node)
            if self._find(node) in settled:
                found.add(self._find(node))
            else:
                pooled = pooled or bool(re.search("Global.*Pooling", type(self._nodes[node].layer).__name__))
                pending += edges[node]
        return found, pooled

    def _attach_what_has_no_kernel(self) -> None:
        for number, node in enumerate(self._nodes):
            members = self._members()[self._find(number)]
            settled = not node.is_weighted or number in self._head
            if settled or any(self._nodes[member].is_main for member in members):
                continue
            before, pooled = self._neighbors(number, self._inputs)
            after, _ = self._neighbors(number, self._outputs)
            if self._named_as_next(number, before, after) or (len(after) == 1 and (pooled or not before)):
                self._join([number, *after])
            elif len(before) == 1 or all(self._is_embedding(block) for block in before):
                self._join([number, *before])

    def _named_as_next(self, number: int, before: set[int], after: set[int]) -> bool:
        """Whether its name matches the block after it, as in pre-activation, better than the block before it."""
        if len(after) != 1 or not self._names_agree(number, *after):
            return False
        alike = [
            max(len(common_beginning([own, name])) for own in self._names(number) for name in self._names(block))
            for blocks in (before, after)
            for block in blocks
            if self._names(block)
        ]
        return alike[-1] > max(alike[:-1], default=0)

    def _is_embedding(self, block: int) -> bool:
        return all(self._nodes[n].is_embedding for n in self._members()[block] if self._nodes[n].is_main)

    def _join_embeddings(self) -> None:
        """Join token, position and segment embeddings that are added: together they are the bottom of their stack."""
        for number, node in enumerate(self._nodes):
            if node.is_embedding and number not in self._head:
                self._join([number, *self._neighbors(number, self._inputs)[0]])  # positions, added to their inputs
                after, _ = self._neighbors(number, self._outputs)
                if after and all(any(self._nodes[n].is_embedding for n in self._members()[b]) for b in after):
                    self._join([number, *after])

    def _chain(self) -> Iterable[tuple[int, int]]:
        """Pairs of blocks that are each other's only neighbor; looked up again after each step."""
        above = self._blocks_above()
        below: dict[int, set[int]] = {block: set() for block in above}
        for block, others in above.items():
            for other in others:
                below[other].add(block)
        for block in sorted(above):
            block = self._find(block)
            nexts = {self._find(other) for other in above.get(block, ())} - {block}
            if len(nexts) == 1:
                following = next(iter(nexts))
                befores = {self._find(other) for other in below.get(following, ())} - {following}
                if befores == {block} and not self._head.intersection([block, following]):
                    yield block, following

    def _join_named(self) -> None:
        joined = True
        while joined:
            joined = False
            for block, following in self._chain():
                main = self._main(block)
                depthwise = len(main) == 1 and type(self._nodes[main[0]].layer).__name__.startswith("DepthwiseConv")
                if depthwise or not self._main(following) or self._names_agree(block, following):
                    self._join([block, following])
                    joined = True
                    break

    def _names_agree(self, one: int, other: int) -> bool:
        """Whether the names of two blocks share a prefix that ends in a number and then name different roles.

        `block2a_expand`, `block2a_project` agree. `block1_conv1`, `block1_conv2`, layers of a stage, do not. Nor do
        `model_2/embed`, `model_2/layer_1`: `model_2/layer_2` shows that they are parts of something larger.
        """
        names = [self._names(self._find(number)) for number in (one, other)]
        if not all(names):
            return False
        common = common_beginning(names[0] + names[1])
        numbered = [length for length, token in enumerate(common, start=1) if NUMBERED.fullmatch(token)]
        if not numbered or min(map(len, names[0] + names[1])) <= numbered[-1]:
            return False
        beginning = common[: numbered[-1]]
        roles: dict[int, set[str]] = collections.defaultdict(set)
        for number, node in enumerate(self._nodes):
            if node.is_main or self._find(number) in (self._find(one), self._find(other)):
                for name in self._names_of(number):
                    if name[: len(beginning)] == beginning:
                        roles[self._find(number)].add(_role(name[len(beginning) :]))
        return sum(map(len, roles.values())) == len(set().union(*roles.values()))

    def _names(self, block: int) -> list[list[str]]:
        """The user-given names in a block, split into words."""
        return [name for number in self._members()[block] for name in self._names_of(number)]

    def _names_of(self, number: int) -> list[list[str]]:
        if not self._nodes[number].is_weighted or layer_tree.is_automatic(self._nodes[number].layer):
            return []
        return [re.split("[/_]", path) for path in self._paths[number]]

    def _main(self, block: int) -> list[int]:
        """The nodes with a kernel in a block, except those that only compute a gate."""
        return [n for n in self._members()[block] if self._nodes[n].is_main and n not in self._gates]

    def _is_block(self, block: int) -> bool:
        main = self._main(block)
        if all(self._nodes[number].is_embedding for number in main):
            return False
        return len(main) > 1 or any(self._nodes[number].is_composite for number in main)

    def _join_attention_and_feed_forward(self) -> None:
        """Join a residual branch with attention and the branch after it into one transformer block."""
        for block, following in list(self._chain()):
            block, following = self._find(block), self._find(following)
            parts = [
                [type(self._nodes[n].layer).__name__ for n in self._members()[part] if self._nodes[n].is_main]
                for part in (block, following)
            ]
            attends = [any(re.search("Attention", name) for name in part) for part in parts]
            residual = all(any(self._is_meeting(n) for n in self._members()[part]) for part in (block, following))
            if attends == [True, False] and residual and not any(map(self._is_composite_block, (block, following))):
                self._join([block, following])

    def _is_composite_block(self, block: int) -> bool:
        members = self._members()[block]
        return any(
            self._nodes[n].is_composite and "Attention" not in type(self._nodes[n].layer).__name__ for n in members
        )

    def _join_transitions(self) -> None:
        """Join a single layer between two blocks (downsampling in ConvNeXt and Swin) to the block after it."""
        blocks = {block for block in self._blocks_above() if self._is_block(block)}
        chain = list(self._chain())
        before = {following: block for block, following in chain}
        for block, following in chain:
            if block not in blocks and following in blocks and before.get(block) in blocks:
                self._join([block, following])

    def _blocks_above(self) -> dict[int, set[int]]:
        """For each weighted block, the blocks that take its output, directly or through weightless nodes."""
        weighted = {self._find(n) for n, node in enumerate(self._nodes) if node.is_weighted and n not in self._head}
        above: dict[int, set[int]] = {block: set() for block in weighted}
        passed: list[set[int]] = [set() for _ in self._nodes]  # the blocks whose output a node passes on
        for number, inputs in enumerate(self._inputs):
            own = self._find(number)
            reaching = set().union(*(passed[source] for source in inputs)) if inputs else set()
            if own in weighted:
                for block in reaching - {own}:
                    above[block].add(own)
                passed[number] = {own}
            else:
                passed[number] = reaching
        return above


def _role(words: list[str]) -> str:
    """The name without numbers and single letters: `conv2` becomes "conv"."""
    return "".join(re.sub(r"\d+", "", word) for word in words if len(word) > 1)


def _positions(mask: int) -> list[int]:
    """The bits that are set."""
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return found


def common_beginning(names: list[list[str]]) -> list[str]:
    """The words that all names start with."""
    alike = itertools.takewhile(lambda words: len(set(words)) == 1, zip(*names, strict=False))
    return [words[0] for words in alike]
