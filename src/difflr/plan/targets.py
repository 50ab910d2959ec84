"""Targets: which leaves of the layer tree a rule applies to."""

import re
from collections.abc import Iterable, Mapping, Sequence

import keras

from difflr import keras_private
from difflr.checks import listed, meant, nearest, shown
from difflr.plan.head import FIX, head_of
from difflr.plan.kinds import check_kind, is_kind, known_kinds
from difflr.plan.layer_tree import Leaf, walk
from difflr.plan.rule import EverythingBut, Target, describe, flattened

MAX_PATTERN = 2_000

# The position of a leaf and the path that matched (None: the target is not a path, so all its paths).
Match = tuple[int, str | None]


class Targets:
    """Find the leaves that a target matches, in time proportional to the number of matches.

    Args:
        model: The model, or `None` for a flat list of variables.
        leaves: The leaves of the layer tree. Defaults to those of the model.
    """

    def __init__(self, model: keras.Layer | None, leaves: list[Leaf] | None = None):
        self._leaves = leaves = walk(model) if leaves is None else leaves
        self._model = model
        self._by_prefix: dict[str, list[Match]] = {}
        self._by_layer: dict[int, list[Match]] = {}
        for position, leaf in enumerate(leaves):
            for path in leaf.paths:
                for prefix in prefixes(path):
                    self._by_prefix.setdefault(prefix, []).append((position, path))
            for layer in leaf.ancestors:
                self._by_layer.setdefault(layer, []).append((position, None))
        self._by_variable = {id(leaf.variable): (position, None) for position, leaf in enumerate(leaves)}

    def match(self, target: Target) -> list[Match]:
        """The matches of `target`, or of any target in a list, with at least one variable.

        Args:
            target: As for `difflr.Rule`.

        Raises:
            ValueError: If nothing matches. The message lists the closest matches.
            TypeError: If it is not a target.
        """
        (matches,) = self.match_all([target])
        if not any(self._leaves[position].variable is not None for position, _ in matches):
            raise ValueError(f"The rule for {describe(target)} matches no trainable variable, only moving statistics.")
        return matches

    def variables(self, target: Target) -> list[keras.Variable]:
        """The variables that match.

        Args:
            target: As for `match`, which raises the same errors.
        """
        found = [self._leaves[position].variable for position, _ in self.match(target)]
        return [variable for variable in found if variable is not None]

    def ids(self, target: Target) -> set[int]:
        """The identities of the variables that match, and of the layers that have only moving statistics.

        Args:
            target: As for `match`, which raises the same errors.
        """
        return {id(self._leaves[position].owner) for position, _ in self.match(target)}

    def match_all(self, targets: Sequence[Target]) -> list[list[Match]]:
        """The matches of each target, including layers that have only moving statistics.

        A layer without trainable variables is an error, unless another layer in the targets matches: the layers in
        `[(layer, 0.1) for layer in model.layers[:20]]` include activations.

        Args:
            targets: As for `difflr.Rule`.

        Raises:
            ValueError: If one of them matches nothing. The message lists the closest matches.
            TypeError: If one of them is not a target.
        """
        singles = [list(flattened(target)) for target in targets]
        layers = [item for single in singles for item in single if isinstance(item, keras.Layer)]
        among_others = any(map(self._match_layer, layers))
        return [self._match_any(target, single, among_others) for target, single in zip(targets, singles, strict=True)]

    def _match_any(self, target: Target, singles: list[Target], among_others: bool) -> list[Match]:
        if not singles:
            raise ValueError(f"A list of targets is empty: the rule for {shown(target)} matches nothing.")
        matches = []
        for single in singles:
            found = self._match_single(single)
            if not found and not (among_others and has_nothing_to_train(single)):
                raise ValueError(self._nothing_matched(single))
            matches += found
        return matches

    def _match_single(self, target: Target) -> list[Match]:
        if isinstance(target, str):
            return self._match_kind(target) if target.startswith("kind:") else self._match_path(target)
        if isinstance(target, EverythingBut):
            left_out = {position for matches in self.match_all(target.targets) for position, _ in matches}
            return [(position, None) for position in range(len(self._leaves)) if position not in left_out]
        if isinstance(target, keras.Variable):
            return [self._by_variable[id(target)]] if id(target) in self._by_variable else []
        if isinstance(target, keras.Layer):
            return self._match_layer(target)
        if isinstance(target, type) and issubclass(target, keras.Layer):
            return self._match_class(target)
        if id(target) in self._by_layer:  # a PyTorch module or parameter
            return self._by_layer[id(target)]
        if callable(target) and not isinstance(target, type):
            return [(position, None) for position in self._with_variable() if target(self._leaves[position].variable)]
        raise TypeError(
            "A target is a layer, a variable, a layer class, a path pattern such as 'backbone/*', a kind such as "
            "'kind:bias', a function variable -> bool, difflr.everything_but(...), or a list of these. "
            f"Received: {shown(target)} (of type {type(target).__name__}).{_fix(target)}"
        )

    def _with_variable(self) -> list[int]:
        """The positions of leaves that are variables, not just the moving statistics of a layer."""
        return [position for position, leaf in enumerate(self._leaves) if leaf.variable is not None]

    def _match_path(self, pattern: str) -> list[Match]:
        pattern = pattern.strip("/")
        if self._model is None and self._leaves and not self._leaves[0].in_tree:
            raise ValueError(
                f"The target {shown(pattern)} is a path in the layer tree, and only variables are known here, no model. "
                "Give the optimizer `multipliers=difflr.Plan(model, rules)`, or use layers and variables as targets."
            )
        if pattern in self._by_prefix or not re.search(r"[*?\[]", pattern):  # a name may contain a bracket
            return self._by_prefix.get(pattern, [])
        expression = path_expression(pattern)
        return [
            (position, path)
            for position, leaf in enumerate(self._leaves)
            for path in leaf.paths
            if expression.fullmatch(path)
        ]

    def _match_layer(self, layer: keras.Layer) -> list[Match]:
        in_tree = self._by_layer.get(id(layer), []) if self._model is not None else []
        return in_tree or self._match_contents(layer)

    def _match_contents(self, layer: keras.Layer) -> list[Match]:
        """What a layer that is not in the tree shares with the model, as `base` in `Model(base.input, top(base.output))`."""
        inside = set(map(id, layer.variables))
        if not inside:
            return []
        inside |= {id(one) for one in [layer, *layers_inside(layer)]}
        return [(position, None) for position, leaf in enumerate(self._leaves) if id(leaf.owner) in inside]

    def _match_class(self, cls: type) -> list[Match]:
        if self._model is None:
            raise ValueError(
                f"The layers of class {cls.__name__} are found in a model, and only variables are known here. Give the "
                "optimizer `multipliers=difflr.Plan(model, rules)`."
            )
        layers = [layer for layer in layers_inside(self._model) if isinstance(layer, cls)]
        return [match for layer in layers for match in self._match_layer(layer)]

    def _match_kind(self, target: str) -> list[Match]:
        kind = target.removeprefix("kind:")
        check_kind(kind, self._leaves)
        if kind == "head":
            return self._match_head()
        return [(position, None) for position in self._with_variable() if is_kind(self._leaves[position], kind)]

    def _match_head(self) -> list[Match]:
        model = self._model
        if model is None:
            raise ValueError("'kind:head' is found from the model's graph: use difflr.Plan(model, rules).")
        parts = head_of(model)
        if not parts:
            raise ValueError(
                f"{type(model).__name__} '{model.name}' has no separate head: the weights of its last layer are also "
                f"used below it, like a tied embedding. Please {FIX}."
            )
        return list(dict.fromkeys(match for part in parts for match in self._match_single(part)))

    def _nothing_matched(self, target: Target) -> str:
        start = f"The rule for {describe(target)} matches no trainable variable"
        top = list(dict.fromkeys(leaf.path.split("/")[0] for leaf in self._leaves))
        tree = f"The layer tree begins with: {', '.join(top[:12])}{', ...' if len(top) > 12 else ''}."
        if isinstance(target, keras.Variable):
            hint = meant(self.closest(target.path))
            return f"{start} of this model: it belongs to another model, or was created as non-trainable.{hint} {tree}"
        if isinstance(target, keras.Layer):
            if not target.variables:
                return f"{start}: the layer has no weights{'' if target.built else ' (it is not built)'}. {tree}"
            hint = meant(self.closest(target.name))
            return f"{start} of this model: the layer is not in it, or has no trainable weights.{hint} {tree}"
        if isinstance(target, EverythingBut):
            return f"{start}: nothing else is left. {tree}"
        if isinstance(target, type):
            names = dict.fromkeys(type(layer).__name__ for layer in layers_inside(self._model) if layer.weights)
            return f"{start}. The layers with weights are of these classes: {listed(list(names))}."
        if not isinstance(target, str):
            number = sum(leaf.variable is not None for leaf in self._leaves)
            return f"{start}: it returned False for all {number} variables. {tree}"
        if target.startswith("kind:"):
            there = [f"kind:{kind}" for kind in known_kinds(self._leaves)]
            return f"{start}. Kinds in this model: {', '.join(there) or 'none'}. {tree}"
        by_keras_path = [leaf.path for leaf in self._leaves if getattr(leaf.variable, "path", None) == target]
        if by_keras_path:
            return (
                f"{start}. It is Keras's `variable.path`, which changes when a model is loaded; "
                f"the layer-tree path is '{by_keras_path[0]}'."
            )
        hint = self._about_path(target.strip("/"))
        return f"{start}.{hint} {tree} print(difflr.Plan(model)) shows it whole."

    def _about_path(self, pattern: str) -> str:
        """A hint about a path that matches nothing."""
        if self._model is not None and pattern == self._model.name:
            return " It is the name of the model itself: '*' matches everything in it."
        *above, name = pattern.split("/")
        parent = next((path for path in reversed(prefixes("/".join(above))) if path in self._by_prefix), "")
        leaves = [leaf for leaf in self._leaves if parent in (path.rpartition("/")[0] for path in leaf.paths)]
        owners = {id(leaf.layer): leaf.layer for leaf in leaves if parent and leaf.layer is not None}
        if any(name == variable.name for layer in owners.values() for variable in layer.non_trainable_variables):
            return " It was created as non-trainable, like moving statistics and quantized weights."
        close = self.closest(pattern)
        below = {path[len(parent) + 1 :].split("/")[0] for path in self._by_prefix if path.startswith(f"{parent}/")}
        hint = meant(close) or (f" In '{parent}' are: {listed(sorted(below))}." if below else "")
        return hint + (_NO_EXPRESSION if _LIKE_AN_EXPRESSION.search(pattern) else "")

    def closest(self, pattern: str) -> list[str]:
        """The paths most like a pattern that matches nothing, at most three.

        Args:
            pattern: The pattern.
        """
        known = list(self._by_prefix)
        parts = pattern.strip("/").split("/")
        ends = ["/".join(parts[start:]) for start in range(len(parts))]  # a layer or variable of another model
        close = [end for end in ends if end in self._by_prefix][:1] or nearest(pattern.strip("/"), known)
        if not close:  # right name, wrong depth
            last = pattern.strip("*/").split("/")[-1]
            deeper = [path for path in known if path.split("/")[-1].casefold() == last.casefold()]
            names = nearest(last, [path.split("/")[-1] for path in known], 1)
            close = deeper or [path for path in known if names and path.split("/")[-1] == names[0]]
        return close[:3]


_LIKE_AN_EXPRESSION = re.compile(r"\.[*+]|[\\^$|()+{},]")
_NO_EXPRESSION = (
    " A pattern is not a regular expression: `*` is any characters, and alternatives are a list of targets."
)


def _fix(target: object) -> str:
    """What to write instead of something that is no target."""
    if isinstance(target, re.Pattern):
        return " A regular expression is written as a function: lambda variable: expression.search(variable.path)."
    is_iterable = (
        isinstance(target, Iterable) and not isinstance(target, (bytes, Mapping)) and not hasattr(target, "shape")
    )
    return " Write list(...) around it." if is_iterable else ""


def prefixes(path: str) -> list[str]:
    """`"a/b/c"` -> `["a", "a/b", "a/b/c"]`."""
    parts = path.split("/")
    return ["/".join(parts[: end + 1]) for end in range(len(parts))]


def path_expression(pattern: str) -> re.Pattern[str]:
    """The regular expression of a path pattern. It must match a whole path, or the path of a layer above it.

    Matching takes time proportional to the length of the path for any pattern: text between two stars is matched at
    its first occurrence without backtracking (`(?>...)`), since the next star covers the rest.

    Args:
        pattern: With `*` (any characters including `/`), `**/` at the start or after a `/` (the same, or nothing), `?`
            (one character except `/`), `[abc]` or `[1-4]` (one of these characters) and `[!abc]` or `[^abc]` (any other
            character except `/`). At most 2,000 characters.

    Raises:
        ValueError: If a range is reversed, as in `[9-1]`, or the pattern is too long.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"A pattern can have at most {MAX_PATTERN} characters. Received: {shown(pattern)}")
    fixed, stars = [""], []
    for piece in _PIECE.finditer(pattern):
        if piece.lastgroup in _STARS:
            stars.append(_STARS[piece.lastgroup])
            fixed.append("")
        else:
            fixed[-1] += _single_character(piece)
    between = "".join(f"(?>{star}{part})" for star, part in zip(stars[:-1], fixed[1:-1], strict=True))
    translated = fixed[0] + between + (stars[-1] + fixed[-1] if stars else "")
    try:
        return re.compile(f"{translated}(?:/.*)?", re.DOTALL)
    except re.error:
        raise ValueError(f"The pattern '{pattern}' has a reversed range. Write it as in [1-9].") from None


_PIECE = re.compile(
    r"(?P<set>\[[!^]?[^\]]+\])|(?P<skip>(?:(?<![^/])\*\*/)+)|(?P<star>\*+)|(?P<one>\?)|(?P<text>[^*?\[]+|\[)"
)
_STARS = {"star": ".*?", "skip": "(?:.*?/)??"}


def _single_character(piece: re.Match[str]) -> str:
    """The regular expression of a piece of a pattern other than a star."""
    text = piece.group()
    if piece.lastgroup == "one":
        return "[^/]"
    if piece.lastgroup == "set" and text not in ("[!]", "[^]"):
        return f"[^/{_characters(text[2:-1])}]" if text[1] in "!^" else f"[{_characters(text[1:-1])}]"
    return re.escape(text)


def _characters(inside: str) -> str:
    """The inside of a character class such as `1-4`, with everything but the hyphen escaped."""
    return "-".join(re.escape(part) for part in inside.split("-"))


def layers_inside(model: keras.Layer) -> list[keras.Layer]:
    """All layers inside `model`, nested ones included, without duplicates."""
    found: dict[int, keras.Layer] = {}
    pending = keras_private.sublayers(model)
    while pending:
        layer = pending.pop(0)
        if id(layer) not in found:
            found[id(layer)] = layer
            pending += keras_private.sublayers(layer)
    return list(found.values())


def has_nothing_to_train(target: Target) -> bool:
    """Whether `target` is a layer without trainable or frozen weights: an activation, an addition, an input."""
    if not isinstance(target, keras.Layer) or not target.built:
        return False
    return not any(keras_private.own_trainable_variables(layer) for layer in [target, *layers_inside(target)])
