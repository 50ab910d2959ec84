"""Short names for groups of variables: the same in every table, picture and log."""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from difflr.plan import Plan

ALL = "all"


def group_names(plan: "Plan") -> list[str]:
    """A short name for each group of the plan, in their order.

    Args:
        plan: The plan.
    """
    return group_labels([[row.path for row in group.rows] for group in plan.groups], [row.path for row in plan.rows])


def group_labels(groups: Sequence[Sequence[str]], every: Iterable[str]) -> list[str]:
    """A short, unique name for each group, without spaces and commas: it is a column of a CSV file and a tag.

    A layer (or variable) that is the whole group gives its path: `backbone/stem`. Several of them give the pattern
    that matches just these, `backbone/*/kernel`, or else the first and how many more there are: `backbone/stem+3`.

    Args:
        groups: For each group the layer-tree paths of its variables.
        every: The paths of all variables of the model.
    """
    every = list(every)
    total = collections.Counter(layer for path in every for layer in layers_above(path))
    taken: set[str] = set()
    labels = []
    for paths in groups:
        label = first = _label(list(paths), every, total)
        number = 1
        while label in taken:
            number += 1
            label = f"{first}_{number}"
        taken.add(label)
        labels.append(label)
    return labels


def covering_names(paths: Iterable[str], total: collections.Counter[str]) -> list[str]:
    """What stands for `paths`: layers whose variables are all among them stand for these.

    Args:
        paths: Layer-tree paths of some variables.
        total: For each layer, by path, how many variables are below it.
    """
    paths = list(paths)
    inside = collections.Counter(layer for path in paths for layer in layers_above(path))
    names: dict[str, None] = {}
    for path in paths:
        whole = [layer for layer in layers_above(path) if inside[layer] == total[layer]]
        names[whole[0] if whole else path] = None
    return list(names)


def layers_above(path: str) -> list[str]:
    """The paths of the layers above a variable, from the outermost on."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _label(paths: list[str], every: list[str], total: collections.Counter[str]) -> str:
    if len(paths) == len(every):
        return ALL
    names = covering_names(paths, total)
    label = names[0] if len(names) == 1 else _pattern(paths, every) or f"{names[0]}+{len(names) - 1}"
    return re.sub(r"[\s,;:'\"]+", "_", label)


def _pattern(paths: list[str], every: list[str]) -> str | None:
    """`above/*/last` where that matches `paths` and nothing else."""
    last = {path.rsplit("/", 1)[-1] for path in paths}
    if len(last) != 1:
        return None
    (end,) = last
    above = []
    for parts in zip(*(path.split("/")[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        above.append(parts[0])
    start = "".join(f"{part}/" for part in above)
    matched = {path for path in every if path.startswith(start) and path.endswith(f"/{end}")}
    return f"{start}*/{end}" if matched == set(paths) else None
