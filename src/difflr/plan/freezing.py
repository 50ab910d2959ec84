"""Marks on frozen variables: a plan marks what it freezes, so that it never unfreezes what the user froze."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import keras

from difflr import keras_private
from difflr.plan.rows import BY_USER, Row

if TYPE_CHECKING:
    from difflr.plan.plan import Plan

_MARK = "_difflr_frozen"


def marked_frozen(thing: keras.Variable | keras.Layer) -> bool:
    """Whether a plan, not the user, froze this variable or layer, and it is still frozen."""
    return not thing.trainable and was_marked(thing)


def was_marked(thing: keras.Variable | keras.Layer) -> bool:
    """Whether a plan froze it and no plan has unfrozen it since; the user may have."""
    return getattr(thing, _MARK, False)


def set_frozen(thing: keras.Variable | keras.Layer, frozen: bool) -> None:
    """Freeze or unfreeze a variable or layer for a plan, and mark it."""
    thing.trainable = not frozen
    setattr(thing, _MARK, frozen)


def set_mark(thing: keras.Variable | keras.Layer, frozen: bool) -> None:
    """Set or remove only the mark."""
    setattr(thing, _MARK, frozen)


def layer_frozen_by_plan(layer: keras.Layer) -> bool:
    """Whether a plan set `layer.trainable = False`, which plans do only for BatchNormalization.

    The layer's flag is saved with the model, the mark is not. After loading, its variables decide, which the loaded plan
    marks again.
    """
    variables = keras_private.own_trainable_variables(layer)
    normalizes = isinstance(layer, keras.layers.BatchNormalization)
    return marked_frozen(layer) or bool(normalizes and variables and all(map(marked_frozen, variables)))


def frozen_by_hand(variable: keras.Variable, layer: keras.Layer | None) -> bool:
    """Whether the user, not a plan, froze this variable or the layer that owns it."""
    by_layer = layer is not None and not layer.trainable and not layer_frozen_by_plan(layer)
    return not variable.trainable and (by_layer or not was_marked(variable))


def with_frozen_by_hand(plan: "Plan", built_with: Iterable[keras.Variable]) -> "Plan":
    """The plan with what the user has frozen since it was created.

    Args:
        plan: The plan.
        built_with: The variables that the optimizer was built with. It trains them while their own flag is set.
    """
    trained = {id(variable) for variable in built_with if variable.trainable}
    by_hand = {
        id(row.variable)
        for row in plan.whole.rows
        if not row.frozen and id(row.variable) not in trained and frozen_by_hand(row.variable, row.layer)
    }

    def change(row: Row) -> Row:
        return row.frozen_because(BY_USER) if id(row.variable) in by_hand and not row.frozen else row

    return plan.changed(change) if by_hand else plan


def freeze(plan: "Plan") -> None:
    """Freeze and unfreeze the plan's model as the plan says. Creating a plan changes nothing.

    Sets `trainable = False` where the plan freezes, and unfreezes what another plan froze. Variables frozen by the user
    stay frozen. Optimizers call this when they get a plan.

    Args:
        plan: The plan.
    """
    normalization = plan.normalization_layers()
    for layer in normalization:
        if layer_frozen_by_plan(layer):
            set_frozen(layer, False)
    for row in plan.rows:
        if row.decided.get("frozen") == BY_USER:
            row.variable.trainable = False
        elif row.frozen:
            set_frozen(row.variable, True)
        elif was_marked(row.variable):
            set_frozen(row.variable, False)
    if normalization and plan.frozen_statistics == "keep":
        by_plan = {id(layer.layer) for layer in plan.statistics if not layer.by_user}
        for layer in plan.kept_statistics():
            if layer.trainable or id(layer) in by_plan:
                set_frozen(layer, True)
