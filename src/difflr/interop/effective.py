"""Absolute values for the groups of a plan, as other libraries expect them."""

from collections.abc import Collection

from difflr.checks import checked_option, wrong_type
from difflr.optimizers.differential_optimizer import FOLLOWS
from difflr.plan import Group, Plan


def group_decay(group: Group, weight_decay: float, follows: str) -> float:
    """The weight decay to pass to an optimizer that multiplies it by the learning rate of the group.

    Args:
        group: A group of a plan.
        weight_decay: The base weight decay.
        follows: `"effective_rate"`, or `"base_rate"`, which divides by the group's multiplier.

    Raises:
        ValueError: If `follows` is neither of the two.
    """
    checked_option(follows, "weight_decay_follows", FOLLOWS)
    own = group.hyperparameters.get("weight_decay", weight_decay)
    decay = (weight_decay if callable(own) else own) * group.weight_decay_multiplier
    return decay / group.multiplier if follows == "base_rate" else decay


def check_plan(plan: Plan) -> None:
    """Check that `plan` is a plan with trainable variables.

    Raises:
        TypeError: If it is not a plan.
        ValueError: If it freezes everything.
    """
    if not isinstance(plan, Plan):
        raise wrong_type("`plan`", "a difflr.Plan", plan)
    if not plan.groups:
        raise ValueError(f"The plan freezes everything, so there is nothing to train. {plan!r}")


def check_axes(plan: Plan, carried: Collection[str], where: str, fix: str) -> None:
    """Check that another library can express everything in the plan besides learning rates.

    Args:
        plan: The plan.
        carried: The hyperparameters it supports, as numbers.
        where: The library, for errors.
        fix: What to do instead, for errors.

    Raises:
        ValueError: If there is a lowest rate, a schedule, or an unsupported hyperparameter.
    """
    for group in plan.groups:
        over_time = [name for name, value in group.hyperparameters.items() if callable(value)]
        unknown = [name for name in group.hyperparameters if name not in carried]
        problem = (
            "has a schedule of its own"
            if group.schedule is not None
            else f"has a schedule for '{over_time[0]}'"
            if over_time
            else f"has its own '{unknown[0]}'"
            if unknown
            else "has a lowest learning rate"
            if group.min_learning_rate
            else ""
        )
        if problem:
            raise ValueError(f"The group of {group.rows[0].path} {problem}, and {where}. {fix}")
