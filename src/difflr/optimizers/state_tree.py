"""State trees (`model.get_state_tree`, `set_state_tree`), which Orbax checkpoints contain."""

import functools
from typing import Any, TypeAlias

import keras
import numpy as np

from difflr import keras_private
from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.settable_numbers import VECTOR
from difflr.optimizers.unwrap import parts

STATE = "difflr"  # the entry among the optimizer's variables
Tree: TypeAlias = dict[str, Any]


def extend_state_trees() -> None:
    """Adds to the state trees of all models what `save_weights` saves of a differential optimizer.

    Keras puts the optimizer's variables into the tree, by path. The plan in force, the progress of phases and the state of
    frozen variables are no variables. Without them `OrbaxCheckpoint` could not resume in a phase: the vectors of
    multipliers have one entry per group, and weights that were frozen on saving are looked up among the frozen ones only.
    """
    get, assign = keras.Model.get_state_tree, keras.Model.set_state_tree

    @functools.wraps(get)
    def get_state_tree(self: keras.Model, value_format: str = "backend_tensor") -> Tree:
        tree: Tree = get(self, value_format)
        known = {} if keras_private.is_traced() else _differential_parts(self)
        states = {number: part.stored() for number, part in known.items() if part.built}
        if states:
            convert = np.asarray if value_format == "numpy_array" else keras.ops.convert_to_tensor
            tree["optimizer_variables"][STATE] = keras.tree.map_structure(convert, states)
        return tree

    @functools.wraps(assign)
    def set_state_tree(self: keras.Model, state_tree: Tree) -> None:
        assign(self, _prepared(self, state_tree) if _differential_parts(self) else state_tree)

    keras.Model.get_state_tree, keras.Model.set_state_tree = get_state_tree, set_state_tree


def _differential_parts(model: keras.Model) -> dict[str, DifferentialOptimizer]:
    """The differential optimizers of a model, by number."""
    optimizer = getattr(model, "optimizer", None)
    several = enumerate(parts(optimizer)) if optimizer is not None else ()
    return {str(number): part for number, part in several if isinstance(part, DifferentialOptimizer)}


def _prepared(model: keras.Model, tree: Tree) -> Tree:
    """Loads the states of the differential optimizers in a tree; returns the tree for Keras.

    What Keras assigns then is the same, unless a training loop of the user changed the variables in the tree.
    """
    weights = ("trainable_variables", "non_trainable_variables")
    tree = {**tree, **dict.fromkeys(weights, _merged(*(tree.get(key, {}) for key in weights)))}
    optimizer = dict(tree.get("optimizer_variables", {}))
    states = optimizer.pop(STATE, {})
    if states and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    for number, part in _differential_parts(model).items():
        if number in states:
            store = keras.tree.map_structure(
                lambda value: np.asarray(keras.ops.convert_to_numpy(value)), states[number]
            )
            part.load_own_variables(store)
            optimizer[part.name] = {k: v for k, v in optimizer.get(part.name, {}).items() if k != VECTOR}
    return {**tree, "optimizer_variables": optimizer} if "optimizer_variables" in tree else tree


def _merged(tree: Tree, other: Tree) -> Tree:
    """Both trees as one."""
    both = {key: _merged(tree[key], other[key]) for key in tree.keys() & other.keys() if isinstance(tree[key], dict)}
    return {**tree, **other, **both}
