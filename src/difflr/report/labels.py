"""Names that fit: shortened without becoming equal, or one name for several neighboring layers."""

import collections
import itertools
import re
from collections.abc import Sequence

import numpy as np

MANY_ROWS = 24


def shortened(names: Sequence[str], longest: int) -> list[str]:
    """The names, cut in the middle where they are too long; different names stay different.

    Characters that no font can print are replaced.

    Args:
        names: The names.
        longest: Integer, the number of characters. A name is longer if it would otherwise equal another one.
    """
    names = ["".join(character if character.isprintable() else "\ufffd" for character in name) for name in names]
    short = {name: _without_middle(name, longest) for name in names}
    alike: dict[str, list[str]] = {}
    for name, cut in short.items():
        alike.setdefault(cut, []).append(name)
    for clashing in alike.values():
        if len(clashing) > 1:  # then the difference is in the middle
            same = itertools.takewhile(lambda characters: len(set(characters)) == 1, zip(*clashing, strict=False))
            start = max(0, len(list(same)) - longest // 4)
            short |= {name: f"…{name[start : start + longest - 2]}…" for name in clashing}
    count = collections.Counter(short.values())
    return [short[name] if count[short[name]] == 1 else name for name in names]


def _without_middle(name: str, longest: int) -> str:
    end = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - end]}…{name[len(name) - end :]}"


def rows_of_map(rows: Sequence[tuple[str, str]]) -> tuple[list[int], list[str]]:
    """The order and the names of the rows of a map.

    Many rows are sorted by variable, first all kernels, then all biases: side by side they would be stripes.

    Args:
        rows: For each row the path of the layer and the variable; an empty string for the whole layer.
    """
    variables = list(dict.fromkeys(variable for _, variable in rows))
    if len(rows) <= MANY_ROWS or len(variables) == 1:
        return list(range(len(rows))), ["/".join(filter(None, row)) for row in rows]
    order = sorted(range(len(rows)), key=lambda number: variables.index(rows[number][1]))
    return order, [": ".join(filter(None, reversed(rows[number]))) for number in order]


def evenly(number: int, most: int) -> list[int]:
    """At most `most` of `number` positions, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, number - 1, min(number, most))}) if number else []


def fitting_labels(paths: Sequence[str], room: int) -> list[tuple[float, str]]:
    """At most `room` labels for layers in order: position and text.

    If there is no room for all, neighbors whose names begin alike share a label such as `block3_*`.

    Args:
        paths: The paths of the layers.
        room: Integer >= 2.
    """
    words = [re.findall(r"[^/_]+[/_]*|[/_]+", path) for path in paths]
    thinned: list[tuple[float, str]] = []
    for length in range(max(map(len, words), default=0), 0, -1):
        runs = _runs(words, length)
        labels = [
            ((first + last) / 2, paths[first] if first == last else "".join(words[first][:length]) + "*")
            for first, last in runs
        ]
        labels = _spaced([labels[number] for number in evenly(len(labels), room)], len(paths) / room)
        if len(runs) <= room:  # every block has a label; a few blocks say less than a selection of the layers
            return labels if len(labels) >= room / 4 or not thinned else thinned
        thinned = labels
    return thinned


def _runs(words: Sequence[Sequence[str]], length: int) -> list[tuple[int, int]]:
    """Neighbors with the same first words: the first and the last of each run."""
    runs = itertools.groupby(range(len(words)), key=lambda number: words[number][:length])
    numbers = [list(run) for _, run in runs]
    return [(run[0], run[-1]) for run in numbers]


def _spaced(labels: list[tuple[float, str]], least: float) -> list[tuple[float, str]]:
    """The labels without those that would overlap the one before; the last one, often the head, stays."""
    kept: list[tuple[float, str]] = []
    for label in labels:
        if kept and label[0] - kept[-1][0] < least * 0.999:
            if label is not labels[-1]:
                continue
            kept.pop()
        kept.append(label)
    return kept
