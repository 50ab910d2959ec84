"""What rules come to, worked out slowly and plainly: for each path of each variable, one rule after another."""

import dataclasses
import fnmatch
import re

import keras

import difflr
from difflr.plan.rule import as_rules


class Disagreement(Exception):
    """Two paths of one shared variable get different values."""


@dataclasses.dataclass
class Expected:
    """What a variable is expected to get."""

    multiplier: float = 1.0
    weight_decay_multiplier: float = 1.0
    schedule: object = None
    frozen: bool = False


def variables_in(layer, model):
    """Those of a layer's variables that the plans of `model` are about."""
    inside = set(map(id, layer.variables))
    return [row.variable for row in difflr.Plan(model).rows if id(row.variable) in inside]


def names(target, row, path, prefixes):
    """Whether `target` means the variable of `row` by `path`."""
    if isinstance(target, keras.Variable):
        return target is row.variable
    if isinstance(target, keras.Layer):
        return any(variable is row.variable for variable in target.variables)
    if callable(target):
        return target(row.variable)
    last, rank = row.path.split("/")[-1], len(row.shape)
    kinds = {"bias": re.search("(^|_)bias$", last), "kernel": re.search("(^|_)kernel$", last), "vector": rank <= 1}
    if target.startswith("kind:"):
        return bool(kinds[target.removeprefix("kind:")])
    if target in prefixes or not any(sign in target for sign in "*["):
        return path == target or path.startswith(f"{target}/")
    return fnmatch.fnmatchcase(path, target) or fnmatch.fnmatchcase(path, f"{target}/*")


def resolved(model, rules):
    """Canonical path -> what is expected.

    Raises:
        Disagreement: Where a shared variable gets different values.
    """
    rows = difflr.Plan(model).rows
    paths = [path for row in rows for path in (row.path, *row.aliases)]
    prefixes = {"/".join(path.split("/")[:end]) for path in paths for end in range(1, path.count("/") + 2)}
    result = {}
    for row in rows:
        found = []
        for path in (row.path, *row.aliases):
            axes = {"multiplier": row.multiplier} if row.multiplier != 1 else {}  # what its layer declares
            for rule in as_rules(rules):
                if names(rule.target, row, path, prefixes):
                    axes.update(rule.axes)
            found.append(axes)
        if any(axes != found[0] for axes in found):
            raise Disagreement(row.path)
        expected = Expected(**found[0])
        expected.frozen = expected.frozen or expected.multiplier == 0
        if expected.frozen:
            expected.multiplier, expected.schedule = 0.0, None
        result[row.path] = expected
    return result


def trained(expected):
    """Of what is expected the trainable variables: nothing else matters for those that are frozen."""
    return {path: each for path, each in expected.items() if not each.frozen}
