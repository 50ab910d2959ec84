"""Kinds of variables, decided by the variable's name, its rank and the layer that owns it."""

import re

import keras

from difflr import keras_private
from difflr.checks import did_you_mean, shown
from difflr.plan.layer_tree import Leaf, is_automatic

KINDS = ("kernel", "bias", "norm", "embedding", "vector", "no_decay", "head")

# UnitNormalization has no weights, but a subclass may.
NORMALIZATION_LAYERS = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
    keras.layers.UnitNormalization,
)

_OF_LAYERS = ("norm", "embedding", "no_decay")  # kinds that depend on the class of the owning layer
_OF_NAMES = {"kernel": "kernel", "bias": "bias"}  # kinds that depend on the variable's name alone
_CALLED_A_NORM = re.compile(r"Norm(ali[sz]ation)?(?![a-z])")  # T5LayerNorm, RmsNorm2d; not NormalizedDense
_SCALE_OR_OFFSET = ("gamma", "beta", "scale", "offset", "weight", "bias")


def check_kind(kind: str, leaves: list[Leaf]) -> None:
    """Check that the kind exists, and that enough is known about the variables to decide it.

    Args:
        kind: Its name, without `kind:`.
        leaves: The leaves of a layer tree, or of a flat list of variables.

    Raises:
        ValueError: If the kind does not exist, or depends on unknown layers or names.
    """
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS, 1, 0.3, "kind:")
        raise ValueError(f"Unknown kind {shown(kind)}. Expected one of: {', '.join('kind:' + k for k in KINDS)}.{hint}")
    problem = ""
    if kind in _OF_LAYERS and not all(leaf.in_tree for leaf in leaves):
        problem = "depends on the layers that own the variables, but only variables are known here"
    unnamed = [
        leaf.path for leaf in leaves if not leaf.in_tree and leaf.variable is not None and is_automatic(leaf.variable)
    ]
    if kind in _OF_NAMES and unnamed:
        problem = f"depends on the names of variables, but {unnamed[0]} was created without a name"
    if problem:
        raise ValueError(f"'kind:{kind}' {problem}. Create the plan for the model: difflr.Plan(model, rules).")


def known_kinds(leaves: list[Leaf]) -> list[str]:
    """The kinds present among `leaves`, as far as known, except the head.

    Args:
        leaves: The leaves of a layer tree, or of a flat list of variables.
    """
    with_layer = all(leaf.in_tree for leaf in leaves)
    kinds = [kind for kind in KINDS if kind != "head" and (with_layer or kind not in _OF_LAYERS)]
    return [kind for kind in kinds if any(leaf.variable is not None and is_kind(leaf, kind) for leaf in leaves)]


def is_kind(leaf: Leaf, kind: str) -> bool:
    """Whether the variable of `leaf` has this kind. Not for the head, which depends on the whole model.

    Args:
        leaf: A leaf with a variable.
        kind: Its name, without `kind:`.
    """
    if kind == "vector":
        return len(leaf.variable.shape) <= 1  # type: ignore[union-attr]
    if leaf.kinds is not None and kind != "no_decay":
        return kind in leaf.kinds
    if kind == "norm":
        return is_normalization(leaf.layer)
    if kind == "embedding":
        return isinstance(leaf.layer, keras.layers.Embedding) or _is_called(leaf, "embeddings?")
    if kind == "no_decay":
        return any(is_kind(leaf, kind) for kind in ("vector", "bias", "norm"))
    return _is_called(leaf, _OF_NAMES[kind])


def is_normalization(layer: keras.Layer | None) -> bool:
    """Whether `layer` is a normalization layer, from Keras or custom.

    Custom ones (`T5LayerNorm` of KerasHub) derive directly from `keras.layers.Layer`. They count if the class is named
    as a norm and all their own trainable variables are scales and offsets, one number per channel.
    """
    if layer is None or isinstance(layer, NORMALIZATION_LAYERS):
        return layer is not None
    named = any(_CALLED_A_NORM.search(cls.__name__) for cls in type(layer).__mro__)
    return named and all(map(_is_scale_or_offset, keras_private.own_trainable_variables(layer)))


def _is_scale_or_offset(variable: keras.Variable) -> bool:
    return variable.name in _SCALE_OR_OFFSET and sum(size > 1 for size in variable.shape) <= 1


def _is_called(leaf: Leaf, word: str) -> bool:
    """Whether the variable's name is `word`, ends with it (`recurrent_kernel`), or numbers it (`kernel_1`)."""
    return re.search(rf"(^|_){word}(_\d+)?$", _name(leaf)) is not None


def _name(leaf: Leaf) -> str:
    """The variable's own name, or its attribute name: a path may have a suffix to be unique (`bias_2`)."""
    name: str = leaf.variable.name  # type: ignore[union-attr]
    return leaf.path.rpartition("/")[2] if is_automatic(leaf.variable) else name  # type: ignore[arg-type]
