"""Short targets that match exactly some rows of a plan, for tables and rules."""

import collections
import itertools
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from difflr.plan.rows import Row

WILD = re.compile(r"[*?\[]")  # special characters in a pattern
BOUNDARY = re.compile(r"[/_]|[^/_\d](?=\d)")  # where a name can be split: block_|1_|expand, fire|2


class CoveringTargets:
    """Find short targets for rows of one plan.

    A target is the path of a variable or of a layer (with everything in it), or a pattern that matches exactly these rows:
    `"backbone/block_1_*"`, `"block_1_*/kernel"`.

    Args:
        rows: All rows of the plan.
    """

    def __init__(self, rows: Collection["Row"]):
        self._paths = {path for row in rows for path in (row.path, *row.aliases)}
        self._layers = {layer for path in self._paths for layer in path.split("/")[:-1]}
        self._beginnings = {"", *(beginning for path in self._paths for beginning in _beginnings(path))}
        self._all = collections.Counter(candidate for path in self._paths for candidate in self._matching(path))

    def of(self, rows: Collection["Row"]) -> list[str]:
        """The targets that together match exactly these rows, in their order.

        Args:
            rows: Some rows of the plan.
        """
        matched: dict[_Candidate, list[int]] = collections.defaultdict(list)
        for row in rows:
            for candidate in itertools.chain.from_iterable(map(self._matching, (row.path, *row.aliases))):
                matched[candidate].append(id(row))
        numbers = {candidate: len(found) for candidate, found in matched.items()}
        targets: list[str] = []
        covered: set[int] = set()
        for row in rows:
            if id(row) not in covered:
                best = self._best(row.path, numbers)
                targets.append(_text(best) if best else row.path)
                covered.update(matched[best] if best else [id(row)])
        return targets

    def _matching(self, path: str) -> Iterator["_Candidate"]:
        """The candidates that match a path."""
        for end in range(len(path)):
            if path[:end] in self._beginnings:
                yield path[:end], ""
                yield path[:end], path.rpartition("/")[2]

    def _best(self, path: str, numbers: dict["_Candidate", int]) -> "_Candidate | None":
        """The target for `path` that covers the most wanted rows and no others; `None`: the path itself.

        Ties: layers before patterns, then the outermost layer and the longest pattern.
        """
        name = path.rpartition("/")[2]
        patterns: list[_Candidate] = []
        if not WILD.search(path):
            patterns += [(beginning, "") for beginning in _beginnings(path) if not beginning.endswith("/")]
            patterns += [(beginning, name) for beginning in ["", *_beginnings(path)] if self._is_clear(beginning, name)]
        layers = [(beginning, "") for beginning in _beginnings(path) if beginning.endswith("/")]
        exact = {candidate for candidate in [*layers, *patterns] if numbers[candidate] == self._all[candidate]}
        layer = next(filter(exact.__contains__, layers), None)
        pattern = max(exact & {*patterns}, key=lambda known: (numbers[known], len(_text(known))), default=None)
        return pattern if pattern and numbers[pattern] > max(1, numbers.get(layer, 0)) else layer  # type: ignore[arg-type]

    def _is_clear(self, beginning: str, name: str) -> bool:
        """Whether `beginning*/name` matches just the paths that begin and end so."""
        above, _, started = beginning.rpartition("/")
        is_path = f"{above}/{name}".strip("/") in self._paths
        return name not in self._layers and not is_path and not (started and name.startswith(started))


# A beginning of paths, and the name at their end (empty: any).
_Candidate: TypeAlias = tuple[str, str]


def _beginnings(path: str) -> list[str]:
    return [path[: match.end()] for match in BOUNDARY.finditer(path, 0, path.rfind("/") + 1)]


def _text(candidate: _Candidate) -> str:
    beginning, name = candidate
    if name:
        return f"{beginning}*/{name}"
    return beginning[:-1] if beginning.endswith("/") else f"{beginning}*"
