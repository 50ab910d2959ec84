"""The layer tree: every trainable variable under a path that survives saving and loading.

`variable.path` does not: a nested `Sequential` loses its prefix on `load_model`, a `keras.applications` backbone never
carries its name, automatic names count per process. The names met on the walk from the model down its layers do.
"""

import dataclasses
import re
from collections.abc import Iterable

import keras

from difflr import keras_private


@dataclasses.dataclass
class Leaf:
    """One trainable variable in the layer tree.

    Args:
        variable: The variable; `None` stands for a BatchNormalization layer that owns statistics only.
        layer: The layer that owns it, where known.
        paths: Its layer-tree paths: the canonical one first, then those by which shared layers reach it again.
        ancestors: The layers on the way to it (all ways), by identity.
        frozen_by_user: Whether `trainable = False` was set on it, or on a layer above, outside difflr.
    """

    variable: keras.Variable | None
    layer: keras.Layer | None
    paths: list[str]
    ancestors: set[int]
    frozen_by_user: bool = False

    @property
    def path(self) -> str:
        """The canonical path."""
        return self.paths[0]


FROZEN_MARK = "_difflr_frozen"


def marked_frozen(thing: object) -> bool:
    """Whether a plan, not the user, froze this variable or layer."""
    return getattr(thing, FROZEN_MARK, False)


def layer_frozen_by_plan(layer: keras.Layer) -> bool:
    """Whether a plan set `layer.trainable = False`.

    The flag of a layer is saved with the model, the mark on it is not; then its variables, which a loaded plan marks
    again, tell.
    """
    variables = keras_private.own_trainable_variables(layer)
    return marked_frozen(layer) or bool(variables and all(map(marked_frozen, variables)))


def walk(model: keras.Layer) -> list[Leaf]:
    """The leaves of `model`, each variable once, in the order of Keras's own `model.variables`.

    Args:
        model: A built model or layer of any kind.

    Returns:
        One `Leaf` for each variable that was made to be trained (frozen ones too).
    """
    leaves: dict[int, Leaf] = {}
    taken: set[str] = set()

    def visit(layer: keras.Layer, path: str, above: frozenset[int], frozen: bool, saved: bool) -> None:
        above = above | {id(layer)}
        named = isinstance(layer, (keras_private.Functional, keras.Sequential))
        by_plan = layer_frozen_by_plan(layer)
        frozen = frozen or not (layer.trainable or by_plan)
        variables = keras_private.own_trainable_variables(layer)
        names = _variable_names(layer, variables)
        if not variables and isinstance(layer, keras.layers.BatchNormalization):
            leaves.setdefault(id(layer), Leaf(None, layer, [path], set(), frozen)).ancestors.update(above)
        for variable, name in zip(variables, names, strict=True):
            full = f"{path}/{name}" if path else name
            leaf = leaves.get(id(variable))
            if leaf is None:
                leaf = leaves[id(variable)] = Leaf(variable, layer, [], set())
            if full not in leaf.paths:
                if full in taken:
                    full = next(f"{full}_{n}" for n in range(2, 10**9) if f"{full}_{n}" not in taken)
                taken.add(full)
                leaf.paths.append(full)
            leaf.ancestors.update(above)
            by_hand = not (variable.trainable or marked_frozen(variable) or by_plan)
            leaf.frozen_by_user = leaf.frozen_by_user or frozen or by_hand
        children = keras_private.sublayers(layer)
        names = _names_in_graph(children, saved) if named else _names_in_code(layer, children)
        for child, name in zip(children, names, strict=True):
            if id(child) not in above:
                visit(child, f"{path}/{name}" if path else name, above, frozen, saved and named)

    visit(model, "", frozenset(), False, True)
    return list(leaves.values())


def flat(variables: Iterable[keras.Variable]) -> list[Leaf]:
    """Leaves for variables without a model: `variable.path` is all there is to name them by."""
    leaves: dict[int, Leaf] = {}
    taken: dict[str, int] = {}
    for variable in variables:
        path = getattr(variable, "path", None) or variable.name
        taken[path] = taken.get(path, 0) + 1
        path = path if taken[path] == 1 else f"{path}_{taken[path]}"
        frozen = not getattr(variable, "trainable", True) and not marked_frozen(variable)
        leaves.setdefault(id(variable), Leaf(variable, None, [path], set(), frozen))
    return list(leaves.values())


def _is_automatic(layer: keras.Layer) -> bool:
    """Whether Keras made up the layer's name (`dense_5`): such names count per process."""
    return bool(re.fullmatch(keras_private.to_snake_case(type(layer).__name__) + r"(_\d+)?", layer.name))


def _names_in_graph(children: list[keras.Layer], saved: bool) -> list[str]:
    """The path components below a functional or Sequential model.

    Its names are unique and saved with it. Where it is made by the code of a subclassed model they are not saved;
    then automatic names count from 0 within it.
    """
    if saved:
        return [child.name for child in children]
    names: list[str] = []
    counts: dict[str, int] = {}
    for child in children:
        name = child.name
        if _is_automatic(child):
            base = keras_private.to_snake_case(type(child).__name__)
            count = counts.get(base, 0)
            counts[base] = count + 1
            name = f"{base}_{count}" if count else base
        names.append(name)
    return names


def _names_in_code(layer: keras.Layer, children: list[keras.Layer]) -> list[str]:
    """The path components below a subclassed model or layer: names given by hand, else the attribute."""
    names = [child.name for child in children]
    attributes = _attribute_names(layer)
    return [
        attributes.get(id(child), name) if _is_automatic(child) or names.count(name) > 1 else name
        for child, name in zip(children, names, strict=True)
    ]


def _variable_names(layer: keras.Layer, variables: list[keras.Variable]) -> list[str]:
    """The last path components: `variable.name`, or the attribute where names are automatic or come twice."""
    names = [variable.name for variable in variables]
    if all(names.count(name) == 1 and not re.fullmatch(r"variable(_\d+)?", name) for name in names):
        return names
    attributes = _attribute_names(layer)
    return [
        attributes.get(id(variable), name) if names.count(name) > 1 or re.fullmatch(r"variable(_\d+)?", name) else name
        for variable, name in zip(variables, names, strict=True)
    ]


def _attribute_names(layer: keras.Layer) -> dict[int, str]:
    """For what `layer` holds in attributes, lists and dicts: identity -> `attribute` or `attribute/index`."""
    result: dict[int, str] = {}
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}  # torch's Module keeps layers apart
    for attribute, value in attributes.items():
        name = attribute.strip("_")
        if attribute in _KERAS_STORES:
            continue
        if isinstance(value, (keras.Layer, keras.Variable)):
            result.setdefault(id(value), name)
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                result.setdefault(id(item), f"{name}/{index}")
        elif isinstance(value, dict):
            for key, item in value.items():
                result.setdefault(id(item), f"{name}/{key}")
    return result


# Where Keras (and torch's Module) keep the same layers and variables once more.
_KERAS_STORES = {
    "_layers",
    "_modules",
    "_parameters",
    "_torch_params",
    "_trainable_variables",
    "_non_trainable_variables",
    "_metrics",
    "_seed_generators",
    "_losses",
    "_obj_reference_counts_dict",
    "_self_unconditional_dependency_names",
}
