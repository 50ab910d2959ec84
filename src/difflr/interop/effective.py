"""The numbers of a group of a plan as other systems want them: absolute ones."""

from difflr.plan import Group, Plan

FOLLOWS = ("effective_rate", "base_rate")


def group_decay(group: Group, weight_decay: float, follows: str) -> float:
    """The weight decay to give to an optimizer that multiplies it by the rate of the group.

    Args:
        group: A group of a plan.
        weight_decay: The base weight decay.
        follows: `"effective_rate"`, or `"base_rate"`: then the group's multiplier is divided out of it again.

    Raises:
        ValueError: If `follows` is neither.
    """
    if follows not in FOLLOWS:
        raise ValueError(f"`weight_decay_follows` must be 'effective_rate' or 'base_rate'. Received: {follows!r}.")
    decay = weight_decay * group.weight_decay_multiplier
    return decay / group.multiplier if follows == "base_rate" else decay


def check_plan(plan: Plan) -> None:
    """Checks that it is a plan in which something trains.

    Raises:
        TypeError: If it is no plan.
        ValueError: If it freezes everything.
    """
    if not isinstance(plan, Plan):
        raise TypeError(f"Expected a difflr.Plan. Received: {plan!r} (of type {type(plan).__name__}).")
    if not plan.groups:
        raise ValueError(f"The plan freezes everything, so there is nothing to train. {plan!r}")
