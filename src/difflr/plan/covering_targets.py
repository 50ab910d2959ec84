"""Short targets that name just some rows of a plan: tables show them, and rules can take them."""

import bisect
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from difflr.plan.rows import Row

WILD = re.compile(r"[*?\[]")  # what means something in a pattern
BOUNDARY = re.compile(r"[/_]|[^/_\d](?=\d)")  # where a name may be cut: block_|1_|expand, fire|2
LAST = "\U0010ffff"  # sorts behind every character of a name


class CoveringTargets:
    """Finds short targets for rows of one plan.

    A target is a path, of a layer where all that is in it is meant, or a pattern that matches just these rows:
    `"backbone/block_1_*"`, `"block_1_*/kernel"`.

    Args:
        rows: All rows of the plan.
    """

    def __init__(self, rows: Sequence["Row"]):
        self._rows = rows
        paths = sorted((path, number) for number, row in enumerate(rows) for path in (row.path, *row.aliases))
        self._paths = [path for path, _ in paths]
        self._known = set(self._paths)
        self._numbers = [number for _, number in paths]
        self._by_name: dict[str, list[int]] = {}  # the last part of a path -> the positions of such paths
        for position, path in enumerate(self._paths):
            self._by_name.setdefault(path.rpartition("/")[2], []).append(position)
        self._layers = {layer for path in self._paths for layer in path.split("/")[:-1]}

    def of(self, rows: Collection["Row"]) -> list[str]:
        """The targets that together name just these rows, in their order.

        Args:
            rows: Some rows of the plan.
        """
        wanted = {id(row) for row in rows}
        inside = [id(self._rows[number]) in wanted for number in self._numbers]
        before = [0, *itertools.accumulate(inside)]
        targets: list[str] = []
        covered: set[int] = set()
        for row in rows:
            if id(row) not in covered:
                target, positions = self._best(row.path, inside, before)
                targets.append(target)
                covered.update(id(self._rows[self._numbers[position]]) for position in positions)
        return targets

    def _best(self, path: str, inside: list[bool], before: list[int]) -> tuple[str, Collection[int]]:
        """The target for `path` that covers most of what is inside and nothing else.

        Of equals a layer comes before a pattern, the outermost layer and the longest pattern before others.
        """

        def is_exact(positions: Collection[int]) -> bool:
            if isinstance(positions, range):
                return before[positions.stop] - before[positions.start] == len(positions)
            return all(map(inside.__getitem__, positions))

        layer = next(
            filter(lambda each: is_exact(each[1]), self._layers_of(path)),
            (path, [bisect.bisect_left(self._paths, path)]),
        )
        patterns = [each for each in self._patterns_of(path) if is_exact(each[1])]
        pattern = max(patterns, key=lambda each: (len(each[1]), len(each[0])), default=layer)
        return pattern if len(pattern[1]) > max(1, len(layer[1])) else layer

    def _layers_of(self, path: str) -> Iterator[tuple[str, Collection[int]]]:
        """The layers above `path`, the outermost first, and the positions of the paths that they match."""
        for layer in itertools.accumulate(path.split("/")[:-1], "{}/{}".format):
            yield layer, self._beginning_with(f"{layer}/")

    def _patterns_of(self, path: str) -> Iterator[tuple[str, Collection[int]]]:
        """Patterns that match `path`, and the positions of all that they match."""
        if WILD.search(path):
            return
        name = path.rpartition("/")[2]
        beginnings = [path[: match.end()] for match in BOUNDARY.finditer(path, 0, len(path) - len(name))]
        for beginning in beginnings:
            if not beginning.endswith("/"):
                yield f"{beginning}*", self._beginning_with(beginning)
        for beginning in ["", *beginnings] if name not in self._layers else ():
            above, _, started = beginning.rpartition("/")
            if f"{above}/{name}".strip("/") not in self._known and not (started and name.startswith(started)):
                yield f"{beginning}*/{name}", self._named(name, beginning)

    def _beginning_with(self, text: str) -> range:
        start = bisect.bisect_left(self._paths, text)
        return range(start, bisect.bisect_left(self._paths, text + LAST, start))

    def _named(self, name: str, beginning: str) -> list[int]:
        span, named = self._beginning_with(beginning), self._by_name[name]
        return named[bisect.bisect_left(named, span.start) : bisect.bisect_left(named, span.stop)]
