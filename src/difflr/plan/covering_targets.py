"""Short targets that match exactly some rows of a plan, for tables and rules."""

import bisect
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from difflr.plan.rows import Row

WILD = re.compile(r"[*?\[]")  # special characters in a pattern
BOUNDARY = re.compile(r"[/_]|[^/_\d](?=\d)")  # where a name can be split: block_|1_|expand, fire|2
LAST = "\U0010ffff"  # sorts after every character of a name


class CoveringTargets:
    """Find short targets for rows of one plan.

    A target is the path of a variable or of a layer (with everything in it), or a pattern that matches exactly these rows:
    `"backbone/block_1_*"`, `"block_1_*/kernel"`.

    Args:
        rows: All rows of the plan.
    """

    def __init__(self, rows: Sequence["Row"]):
        paths = sorted((path, id(row)) for row in rows for path in (row.path, *row.aliases))
        self._paths = [path for path, _ in paths]
        self._rows = [row for _, row in paths]
        self._known = set(self._paths)
        self._layers = {layer for path in self._paths for layer in path.split("/")[:-1]}
        self._all = _Positions(self._paths, range(len(paths)))
        self._of_row: dict[int, list[int]] = {}
        for position, row in enumerate(self._rows):
            self._of_row.setdefault(row, []).append(position)

    def of(self, rows: Collection["Row"]) -> list[str]:
        """The targets that together match exactly these rows, in their order.

        Args:
            rows: Some rows of the plan.
        """
        wanted = _Positions(self._paths, sorted(position for row in rows for position in self._of_row[id(row)]))
        targets: list[str] = []
        covered: set[int] = set()
        for row in rows:
            if id(row) not in covered:
                target, name, span = self._best(row.path, wanted)
                targets.append(target)
                covered.update(self._rows[position] for position in wanted.within(span, name))
        return targets

    def _best(self, path: str, wanted: "_Positions") -> "_Candidate":
        """The target for `path` that covers the most wanted rows and no others.

        Ties: layers before patterns, then the outermost layer and the longest pattern.
        """

        def number(candidate: _Candidate) -> int:
            _, name, span = candidate
            return len(wanted.within(span, name))

        def is_exact(candidate: _Candidate) -> bool:
            _, name, span = candidate
            return number(candidate) == len(self._all.within(span, name))

        position = bisect.bisect_left(self._paths, path)
        layer = next(filter(is_exact, self._layers_of(path)), (path, "", range(position, position + 1)))
        patterns = filter(is_exact, self._patterns_of(path))
        pattern = max(patterns, key=lambda found: (number(found), len(found[0])), default=layer)
        return pattern if number(pattern) > max(1, number(layer)) else layer

    def _layers_of(self, path: str) -> "Iterator[_Candidate]":
        """The layers above `path`, outermost first."""
        for layer in itertools.accumulate(path.split("/")[:-1], "{}/{}".format):
            yield layer, "", self._beginning_with(f"{layer}/")

    def _patterns_of(self, path: str) -> "Iterator[_Candidate]":
        """Patterns that match `path`."""
        if WILD.search(path):
            return
        name = path.rpartition("/")[2]
        beginnings = [path[: match.end()] for match in BOUNDARY.finditer(path, 0, len(path) - len(name))]
        for beginning in beginnings:
            if not beginning.endswith("/"):
                yield f"{beginning}*", "", self._beginning_with(beginning)
        for beginning in ["", *beginnings] if name not in self._layers else ():
            above, _, started = beginning.rpartition("/")
            if f"{above}/{name}".strip("/") not in self._known and not (started and name.startswith(started)):
                yield f"{beginning}*/{name}", name, self._beginning_with(beginning)

    def _beginning_with(self, text: str) -> range:
        start = bisect.bisect_left(self._paths, text)
        return range(start, bisect.bisect_left(self._paths, text + LAST, start))


# A target, the name it matches at the end of a path (empty: any), and the range of positions of its matches.
_Candidate: TypeAlias = tuple[str, str, range]


class _Positions:
    """Positions in the sorted paths, all of them and by the last part of the path.

    Args:
        paths: All paths.
        positions: The positions, ascending.
    """

    def __init__(self, paths: Sequence[str], positions: Sequence[int]):
        self._by_name: dict[str, list[int]] = {}
        for position in positions:
            self._by_name.setdefault(paths[position].rpartition("/")[2], []).append(position)
        self._by_name[""] = list(positions)

    def within(self, span: range, name: str) -> list[int]:
        """The positions in a span, with one name or any."""
        found = self._by_name.get(name, [])
        return found[bisect.bisect_left(found, span.start) : bisect.bisect_left(found, span.stop)]
