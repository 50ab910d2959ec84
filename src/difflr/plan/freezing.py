"""Apply a plan's freezing to its model. Creating a plan changes nothing."""

from difflr import keras_private
from difflr.plan.layer_tree import layer_frozen_by_plan, set_frozen, was_marked
from difflr.plan.plan import Plan
from difflr.plan.rows import BY_USER


def freeze(plan: Plan) -> None:
    """Freeze and unfreeze the plan's model as the plan says.

    Sets `trainable = False` where the plan freezes, and unfreezes what another plan froze. Variables frozen by the user
    stay frozen. Optimizers call this when they get a plan.

    Args:
        plan: The plan.
    """
    keras_private.let_trainable_be_set()
    for layer in plan.normalization_layers():
        if layer_frozen_by_plan(layer):
            set_frozen(layer, False)
    for row in plan.rows:
        if row.decided.get("frozen") == BY_USER:
            row.variable.trainable = False
        elif row.frozen:
            set_frozen(row.variable, True)
        elif was_marked(row.variable):
            set_frozen(row.variable, False)
    if plan.frozen_statistics == "keep":
        by_plan = {id(layer.layer) for layer in plan.statistics if not layer.by_user}
        for layer in plan.kept_statistics():
            if layer.trainable or id(layer) in by_plan:
                set_frozen(layer, True)
