"""Short names for groups of variables: the same in every table, picture and log."""

import collections
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from difflr.checks import shown

if TYPE_CHECKING:
    from difflr.plan import Plan, Row

ALL = "all"
MAX_CHARACTERS = 180  # MLflow takes 250, a log puts the name of what is measured before it


def group_names(plan: "Plan") -> list[str]:
    """A short name for each group of the plan, in their order.

    Args:
        plan: The plan.
    """
    return names_of([group.rows for group in plan.groups], plan.rows)


def names_of(groups: Sequence[Sequence["Row"]], every: Sequence["Row"]) -> list[str]:
    """A short name for each group of rows: the one that the user gave it, or one made of their paths.

    Args:
        groups: For each group its rows; those of a group have the same `name`.
        every: All rows of the plan.
    """
    return group_labels(
        [[row.path for row in rows] for rows in groups], [row.path for row in every], [rows[0].name for rows in groups]
    )


def group_labels(groups: Sequence[Sequence[str]], every: Iterable[str], names: Sequence[str] = ()) -> list[str]:
    """A short, unique name for each group, which CSV files, TensorBoard, MLflow and W&B take as it is.

    A layer (or variable) that is the whole group gives its path: `backbone/stem`. Several of them are called what they
    have in common, `backbone/all/kernel`, or else the first and how many more: `backbone/stem_and_3_more`. No name is
    a folder of another one: MLflow keeps metrics as files.

    Args:
        groups: For each group the layer-tree paths of its variables.
        every: The paths of all variables of the model.
        names: For each group the name that the user gave it, or `""`.
    """
    every = list(every)
    total = collections.Counter(layer for path in every for layer in layers_above(path))
    taken: set[str] = set()
    labels = [""] * len(groups)
    by_user = [bool(name) for name in names or [""] * len(groups)]
    for number in sorted(
        range(len(groups)), key=lambda number: not by_user[number]
    ):  # the user's names stay as they are
        label = names[number] if by_user[number] else _label(list(groups[number]), every, total)
        labels[number] = _free(label, taken)
        taken.add(labels[number])
    return labels


def _free(label: str, taken: set[str]) -> str:
    """`label`, or with a number behind it, or behind its first part where that is a name by itself."""
    top, slash, rest = label.partition("/")
    endings = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
    candidates = (candidate for ending in endings for candidate in (f"{label}{ending}", f"{top}{ending}{slash}{rest}"))
    return next(candidate for candidate in candidates if not _clashes(candidate, taken))


def _clashes(label: str, taken: set[str]) -> bool:
    """Whether the label is taken, or would be a folder and a file at once."""
    return any(
        label == taken_label or label.startswith(f"{taken_label}/") or taken_label.startswith(f"{label}/")
        for taken_label in taken
    )


def check_group_name(name: object) -> None:
    """Checks that every logger takes `name` as it is.

    Raises:
        ValueError: If it is not text of letters, digits and `_ - . : /` and spaces between them, of at most 100 characters.
    """
    fits = isinstance(name, str) and re.fullmatch(r"[\w\-.: /]{1,100}", name) and all(map(_is_part, name.split("/")))
    if not fits:
        raise ValueError(
            "The `name` of a group is a column of logs: 1 to 100 letters, digits and the signs _ - . : / with spaces "
            f"between them, such as 'body' or 'body/early'. Received: {shown(name)}."
        )


def _is_part(part: str) -> bool:
    return part == part.strip() and part not in ("", ".", "..")


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
    label = names[0] if len(names) == 1 else _in_common(paths, every) or f"{names[0]}_and_{len(names) - 1}_more"
    label = re.sub(r"[^\w\-./]+", "_", label)[-MAX_CHARACTERS:]
    return "/".join(part if _is_part(part) else f"_{part}" for part in label.split("/"))


def _in_common(paths: list[str], every: list[str]) -> str | None:
    """`above/all/last` where just these paths have this beginning and this end."""
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
    return f"{start}{ALL}/{end}" if matched == set(paths) else None
