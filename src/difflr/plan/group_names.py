"""Short names for groups of variables, the same in every table, plot and log."""

import collections
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from difflr.checks import shown

if TYPE_CHECKING:
    from difflr.plan import Group, Plan, Row

ALL = "all"
MAX_CHARACTERS = 180  # MLflow allows 250, and logs prefix the name of the metric


def groups_by_name(plan: "Plan") -> dict[str, "Group"]:
    """The groups of the plan by short name, in order.

    Args:
        plan: The plan.
    """
    groups = plan.groups
    return dict(zip(names_of([group.rows for group in groups], plan.rows), groups, strict=True))


def names_of(groups: Sequence[Sequence["Row"]], every: Sequence["Row"]) -> list[str]:
    """A short name for each group of rows: the user's, or one made from their paths.

    Args:
        groups: For each group its rows, all with the same `name`.
        every: All rows of the plan.
    """
    return group_labels(
        [[row.path for row in rows] for rows in groups], [row.path for row in every], [rows[0].name for rows in groups]
    )


def group_labels(groups: Sequence[Sequence[str]], every: Iterable[str], names: Sequence[str] = ()) -> list[str]:
    """A short, unique name for each group, valid in CSV files, TensorBoard, MLflow and W&B.

    A group that is one layer or variable is named by its path: `backbone/stem`. Others are named by their common parts,
    `backbone/all/kernel`, or by the first and the number of others: `backbone/stem_and_3_more`. No name is a folder of
    another: MLflow stores metrics as files.

    Args:
        groups: For each group the layer-tree paths of its variables.
        every: The paths of all variables of the model.
        names: For each group the user's name, or `""`.
    """
    every = list(every)
    total = collections.Counter(layer for path in every for layer in layers_above(path))
    taken: set[str] = set()
    labels = [""] * len(groups)
    by_user = [bool(name) for name in names or [""] * len(groups)]
    for number in sorted(range(len(groups)), key=lambda number: not by_user[number]):  # keep the user's names
        label = names[number] if by_user[number] else _label(list(groups[number]), every, total)
        labels[number] = _free(label, taken)
        taken.add(labels[number])
    return labels


def _free(label: str, taken: set[str]) -> str:
    """`label`, with a number appended if needed, or appended to its first part if that is a name itself."""
    top, slash, rest = label.partition("/")
    endings = itertools.chain([""], (f"_{number}" for number in itertools.count(2)))
    candidates = (candidate for ending in endings for candidate in (f"{label}{ending}", f"{top}{ending}{slash}{rest}"))
    return next(candidate for candidate in candidates if not _clashes(candidate, taken))


def _clashes(label: str, taken: set[str]) -> bool:
    """Whether the label is taken, or would be both a folder and a file."""
    return any(
        label == taken_label or label.startswith(f"{taken_label}/") or taken_label.startswith(f"{label}/")
        for taken_label in taken
    )


def check_group_name(name: object) -> None:
    """Check that `name` is valid in every logger.

    Raises:
        ValueError: If it is not 1 to 100 letters, digits and `_ - . : /`, with inner spaces.
    """
    fits = isinstance(name, str) and re.fullmatch(r"[\w\-.: /]{1,100}", name) and all(map(_is_part, name.split("/")))
    if not fits:
        raise ValueError(
            "The `name` of a group is a column of logs: 1 to 100 letters, digits and _ - . : / with spaces "
            f"between them, such as 'body' or 'body/early'. Received: {shown(name)}."
        )


def _is_part(part: str) -> bool:
    return part == part.strip() and part not in ("", ".", "..")


def covering_names(paths: Iterable[str], total: collections.Counter[str]) -> list[str]:
    """Shorten `paths`: replace variables by a layer if all its variables are among them.

    Args:
        paths: Layer-tree paths of some variables.
        total: For each layer, by path, the number of variables below it.
    """
    paths = list(paths)
    inside = collections.Counter(layer for path in paths for layer in layers_above(path))
    names: dict[str, None] = {}
    for path in paths:
        whole = [layer for layer in layers_above(path) if inside[layer] == total[layer]]
        names[whole[0] if whole else path] = None
    return list(names)


def layers_above(path: str) -> list[str]:
    """The paths of the layers above a variable, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _label(paths: list[str], every: list[str], total: collections.Counter[str]) -> str:
    if len(paths) == len(every):
        return ALL
    names = covering_names(paths, total)
    label = names[0] if len(names) == 1 else _in_common(paths, every) or f"{names[0]}_and_{len(names) - 1}_more"
    label = re.sub(r"[^\w\-./]+", "_", label)[-MAX_CHARACTERS:]
    return "/".join(f"_{part}" if part[:1] in ("", ".") else part for part in label.split("/"))  # no hidden files


def _in_common(paths: list[str], every: list[str]) -> str | None:
    """`above/all/last`, if exactly these paths start and end so."""
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
