"""The layer tree: every trainable variable with a path that survives saving and loading.

`variable.path` does not: a nested `Sequential` loses its prefix on `load_model`, a `keras.applications` backbone never
has its name in it, and automatic names count per process. Names collected by walking down the layers do.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable, Sequence

import keras

from difflr import keras_private
from difflr.plan.freezing import frozen_by_hand, layer_frozen_by_plan, marked_frozen


@dataclasses.dataclass
class Leaf:
    """One trainable variable in the layer tree.

    Args:
        variable: The variable; `None` for a BatchNormalization layer that owns only moving statistics.
        layer: The layer that owns it, if known.
        paths: Its layer-tree paths: the canonical one first, then others through shared layers.
        place: Its identity in files: the canonical path, with automatically named layers identified by class and
            position among siblings.
        ancestors: The ids of the layers above it, on all paths.
        frozen_by_user: Whether `trainable = False` was set outside difflr.
        kinds: Its kinds, if not decided by Keras layer and name; its shape still counts.
    """

    variable: keras.Variable | None
    layer: keras.Layer | None
    paths: list[str]
    place: str
    ancestors: frozenset[int] = frozenset()
    frozen_by_user: bool = False
    kinds: frozenset[str] | None = None

    @property
    def in_tree(self) -> bool:
        """Whether its place is known, not just the variable."""
        return self.layer is not None or self.kinds is not None

    @property
    def path(self) -> str:
        """The canonical path."""
        return self.paths[0]

    @property
    def owner(self) -> keras.Variable | keras.Layer | None:
        """The variable; the layer if it has only moving statistics."""
        return self.layer if self.variable is None else self.variable


MAX_DEPTH = 8  # depth of nested lists searched for layers
MAX_PATHS = 16  # per layer: twelve consecutive shared diamonds would give it 4,096


def walk(model: keras.Layer) -> list[Leaf]:
    """The leaves of `model`, each variable once, in the order of Keras's `model.variables`.

    In Keras a variable trains if its own flag and the root model's flag are set. The flag of a layer in between acts only
    when it is assigned, by setting all variables below. So `base.trainable = False` followed by
    `base.layers[-1].trainable = True` trains that layer, in Keras and in difflr.

    Args:
        model: A built model or layer of any kind.

    Returns:
        One `Leaf` per variable created as trainable, frozen ones included.
    """
    tree = _Tree(model)
    all_frozen = not (model.trainable or layer_frozen_by_plan(model))
    leaves: dict[int, Leaf] = {}
    taken: dict[str, int] = {}
    taken_places: dict[str, int] = {}
    for layer in tree.layers:
        variables = keras_private.own_trainable_variables(layer)
        paths, place, ancestors = tree.paths[id(layer)], tree.places[id(layer)], frozenset(tree.ancestors[id(layer)])
        if not variables and isinstance(layer, keras.layers.BatchNormalization):
            by_user = all_frozen or not (layer.trainable or layer_frozen_by_plan(layer))
            leaves[id(layer)] = Leaf(None, layer, list(paths), place, ancestors, by_user)
        base = keras_private.base_of_lora(layer)
        by_plan = layer_frozen_by_plan(layer)
        for variable, name in zip(variables, _clear_names(layer, variables), strict=True):
            leaf = leaves.get(id(variable))
            if leaf is None:
                leaf = leaves[id(variable)] = Leaf(variable, layer, [], _unique(_join(place, name), taken_places))
            leaf.paths += [_unique(full, taken) for path in paths if (full := _join(path, name)) not in leaf.paths]
            leaf.ancestors |= ancestors
            by_hand = not by_plan and frozen_by_hand(variable, layer)
            leaf.frozen_by_user = leaf.frozen_by_user or all_frozen or by_hand or variable is base
    return list(leaves.values())


class _Tree:
    """The layers of a model in walk order, each once, with all paths from the model to it.

    Args:
        model: The model or layer.
    """

    def __init__(self, model: keras.Layer):
        self.layers: list[keras.Layer] = []
        self.paths: dict[int, list[str]] = {}
        self.places: dict[int, str] = {}
        self.ancestors: dict[int, set[int]] = {}
        self._children: dict[int, list[tuple[keras.Layer, str]]] = {}
        self._on_the_way: set[int] = set()
        self._after: list[keras.Layer] = []  # a layer comes after all layers below it
        self._visit(model, "", "", True)
        for layer in reversed(self._after):
            for child, name in self._children[id(layer)]:
                ways = self.paths[id(child)]
                ways += [way for path in self.paths[id(layer)] if (way := _join(path, name)) not in ways]
                del ways[MAX_PATHS:]
                self.ancestors[id(child)] |= self.ancestors[id(layer)]

    def _visit(self, layer: keras.Layer, path: str, place: str, saved: bool) -> None:
        key = id(layer)
        self.layers.append(layer)
        self.paths[key], self.places[key], self.ancestors[key] = [path], place, {key}
        self._on_the_way.add(key)
        saved = saved and keras_private.saves_its_layers(layer)
        sublayers = keras_private.sublayers(layer)
        names = layer_names(layer, sublayers, saved)
        below = zip(sublayers, names, _names_in_files(sublayers, names), strict=True)
        children = self._children[key] = []
        for child, name, name_in_files in below:
            if id(child) in self._on_the_way:  # a layer that contains itself
                continue
            children.append((child, name))
            if id(child) not in self.paths:
                self._visit(child, _join(path, name), _join(place, name_in_files), saved)
        self._on_the_way.remove(key)
        self._after.append(layer)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def flat(variables: Iterable[keras.Variable]) -> list[Leaf]:
    """Leaves for variables without a model, named by `variable.path`."""
    leaves: dict[int, Leaf] = {}
    taken: dict[str, int] = {}
    places: dict[str, int] = {}
    for variable in variables:
        if id(variable) not in leaves:
            name = getattr(variable, "path", None) or variable.name
            place = _unique("/".join(re.sub(r"_\d+$", "", part) for part in name.split("/")), places)
            frozen = not getattr(variable, "trainable", True) and not marked_frozen(variable)
            leaves[id(variable)] = Leaf(variable, None, [_unique(name, taken)], place, frozen_by_user=frozen)
    return list(leaves.values())


def _unique(path: str, taken: dict[str, int]) -> str:
    """`path`, or `path_2`, `path_3`, ... if taken. `taken`: path -> number of requests."""
    result = path
    while result in taken:
        taken[path] += 1
        result = f"{path}_{taken[path]}"
    taken[result] = 1
    return result


def is_automatic(thing: keras.Layer | keras.Variable) -> bool:
    """Whether the name of a layer (`dense_5`) or a variable (`variable_3`) is automatic; these count per process.

    `Bidirectional` prefixes the name of its layer with `forward_` and `backward_`.
    """
    base = keras_private.to_snake_case(type(thing).__name__) if isinstance(thing, keras.Layer) else "variable"
    return bool(re.fullmatch(rf"(forward_|backward_)?{base}(_\d+)?", thing.name))


def layer_names(layer: keras.Layer, children: list[keras.Layer], saved: bool) -> list[str]:
    """The path components below `layer`. `saved`: its children's names are saved with the model.

    The names in a functional or Sequential model are unique and saved with it. If the code of a subclassed model creates
    it, they are not saved; then automatic names count from 0 within it.
    """
    in_order = layer.layers if isinstance(layer, (keras_private.Functional, keras.Sequential)) else []
    others = {*map(id, children)} - {*map(id, in_order)}
    names = dict(zip(map(id, children), _clear_names(layer, children), strict=True)) if others else {}
    counts: collections.Counter[str] = collections.Counter()
    for child in in_order:
        names[id(child)] = child.name
        if not saved and is_automatic(child):
            base = keras_private.to_snake_case(type(child).__name__)
            names[id(child)] = f"{base}_{counts[base]}" if counts[base] else base
            counts[base] += 1
    return [names[id(child)] for child in children]


def _names_in_files(children: list[keras.Layer], names: list[str]) -> list[str]:
    """The names below a layer as used in files: automatic names are renumbered among siblings.

    Keras numbers automatic names per process, so running the same code again gives other names.
    """
    taken: dict[str, int] = {}
    result = []
    for child, name in zip(children, names, strict=True):
        made_up = name == child.name and is_automatic(child)
        result.append(_unique(keras_private.to_snake_case(type(child).__name__) if made_up else name, taken))
    return result


def _clear_names(layer: keras.Layer, things: Sequence[keras.Layer] | Sequence[keras.Variable]) -> list[str]:
    """The names of layers or variables of `layer`; an automatic or repeated name is replaced by the attribute."""
    times = collections.Counter(thing.name for thing in things)
    unclear = [times[thing.name] > 1 or is_automatic(thing) for thing in things]
    attributes = _attribute_names(layer) if any(unclear) else {}
    return [
        attributes.get(id(thing), thing.name) if ask else thing.name for thing, ask in zip(things, unclear, strict=True)
    ]


def _attribute_names(layer: keras.Layer) -> dict[int, str]:
    """For everything in the attributes of `layer`, nested lists and dicts included: id -> `attribute/index/...`."""
    result: dict[int, str] = {}

    def note(value: object, name: str, depth: int = 0) -> None:
        if isinstance(value, (keras.Layer, keras.Variable)):
            result.setdefault(id(value), name)
        elif isinstance(value, (list, tuple, dict)) and depth < MAX_DEPTH:
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                note(item, f"{name}/{key}", depth + 1)

    for attribute, value in keras_private.attributes(layer).items():
        note(value, attribute.strip("_"))
    return result
