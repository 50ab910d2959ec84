"""`optax_transform`: a plan as a gradient transformation of optax."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from difflr.interop.effective import check_plan, group_decay
from difflr.plan import Group, Plan

_FROZEN = "frozen"


def optax_transform(
    plan: Plan,
    optimizer: Callable[..., Any],
    variables: Sequence[keras.Variable],
    *,
    learning_rate: Any,
    weight_decay: float = 0.0,
    weight_decay_follows: str = "effective_rate",
    **arguments: Any,
) -> Any:
    """The plan as a gradient transformation, for a training loop of your own with optax.

    Every group gets its own `optimizer`, frozen variables `optax.set_to_zero()`. To clip by a global norm put
    `optax.clip_by_global_norm` before it, with `optax.chain`: on gradients of what trains it is one norm for all groups.

    Args:
        plan: A plan for a Keras model.
        optimizer: A function of optax such as `optax.adamw`, which takes `learning_rate`.
        variables: The Keras variables, in the order in which the loop has their values in a list: as a rule
            `model.trainable_variables`.
        learning_rate: The base rate: float, schedule of optax, or schedule of Keras. It is multiplied by the multiplier
            and the schedule of the group.
        weight_decay: Float. Where it is not 0, `optimizer` has to take `weight_decay`.
        weight_decay_follows: As for the optimizers of difflr.
        **arguments: Passed on to `optimizer`, the same for all groups.

    Returns:
        An `optax.GradientTransformation` for lists of the values of `variables`.

    Raises:
        KeyError: If the plan does not cover a variable.
        ValueError: If the plan freezes everything.

    Example:

    ```python
    import optax

    plan = difflr.Plan(model, {"backbone": 0.1})
    variables = model.trainable_variables
    transform = difflr.interop.optax_transform(plan, optax.adamw, variables, learning_rate=1e-3, weight_decay=0.05)
    if keras.backend.backend() == "jax":
        state = transform.init([variable.value for variable in variables])
    ```

    Reference: `optax.partition`.
    """
    import optax

    check_plan(plan)
    numbers = {id(row.variable): str(n) for n, group in enumerate(plan.groups) for row in group.rows}
    labels = [_FROZEN if plan.row(variable).frozen else numbers[id(variable)] for variable in variables]
    transforms = {_FROZEN: optax.set_to_zero()}
    for number, group in enumerate(plan.groups):
        decay = group_decay(group, weight_decay, weight_decay_follows)
        own = {**arguments, "weight_decay": decay} if weight_decay else arguments
        transforms[str(number)] = optimizer(learning_rate=_rate(group, learning_rate), **own)
    return optax.partition(transforms, labels)


def _rate(group: Group, base: Any) -> Any:
    """The rate of a group: a number, or a function of the step."""
    over_time = [factor for factor in (base, group.schedule) if callable(factor)]
    constant = group.multiplier * (1.0 if callable(base) else base)
    if not over_time:
        return constant

    def rate(step: Any) -> Any:
        value = constant
        for factor in over_time:
            value = factor(step) * value
        return value

    return rate
