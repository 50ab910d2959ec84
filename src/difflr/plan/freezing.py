"""Makes a model as frozen as a plan says. A plan itself changes nothing."""

from difflr import keras_private
from difflr.plan.layer_tree import layer_frozen_by_plan, set_frozen, was_marked
from difflr.plan.plan import Plan
from difflr.plan.rows import BY_USER


def freeze(plan: Plan) -> None:
    """Makes the plan's model as frozen as the plan says, and no more.

    Sets `trainable = False` on what the plan freezes, and undoes what another plan froze. What the user froze stays
    frozen. An optimizer that gets the plan calls this.

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
