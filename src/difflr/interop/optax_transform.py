"""`optax_transform`: a plan as an optax gradient transformation."""

import inspect
from collections.abc import Callable
from typing import Any

import keras

from difflr.checks import did_you_mean, listed
from difflr.interop.effective import check_plan, group_decay
from difflr.interop.parameter import is_of_parameters
from difflr.interop.pytree_plan import paths_and_values
from difflr.plan import Group, Plan
from difflr.signatures import check_keywords

_FROZEN = "frozen"


def optax_transform(
    plan: Plan,
    optimizer: Callable[..., Any],
    variables: Any,
    *,
    learning_rate: Any,
    weight_decay: float = 0.0,
    weight_decay_follows: str = "effective_rate",
    **arguments: Any,
) -> Any:
    """Convert a plan to a gradient transformation, for a custom training loop with optax.

    Every group gets its own `optimizer`; frozen variables get `optax.set_to_zero()`. To clip by a global norm over all
    groups, chain `optax.clip_by_global_norm` before it with `optax.chain` and pass only gradients of trainable variables.

    Args:
        plan: A plan for a Keras model, or one from `difflr.interop.pytree_plan`.
        optimizer: An optax function such as `optax.adamw` that takes `learning_rate`.
        variables: The Keras variables, in the order of their values in your loop, usually `model.trainable_variables`.
            With a plan for a pytree: the pytree.
        learning_rate: The base rate: float, optax schedule or Keras schedule. It is multiplied by the multiplier and
            schedule of the group, and never falls below the group's lowest rate.
        weight_decay: Float. If not 0, `optimizer` must take `weight_decay`.
        weight_decay_follows: As for the optimizers of difflr.
        **arguments: Passed to `optimizer`, the same for all groups.

    Returns:
        An `optax.GradientTransformation` for lists of the values of `variables`, or for pytrees like it.

    Raises:
        ImportError: If optax is not installed.
        KeyError: If the plan does not cover a variable.
        ValueError: If the plan freezes everything, or a group sets a hyperparameter that `optimizer` does not take.

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
    try:
        import optax
    except ImportError:
        raise ImportError("Transforms need optax: pip install optax") from None
    check_plan(plan)
    if arguments:
        check_keywords("optax_transform", arguments, optax_transform, optimizer)
    numbers = {row.path: str(n) for n, group in enumerate(plan.groups) for row in group.rows}
    if is_of_parameters(plan):
        labels = _labels(plan, numbers, variables)
    else:
        labels = [numbers.get(plan.row(variable).path, _FROZEN) for variable in variables]
    transforms = {_FROZEN: optax.set_to_zero()}
    for number, group in enumerate(plan.groups):
        decay = group_decay(group, weight_decay, weight_decay_follows)
        own = {**arguments, "weight_decay": decay} if decay or weight_decay else arguments
        transforms[str(number)] = _transform(
            plan, group, optimizer, _rate(group, learning_rate), own, weight_decay_follows
        )
    return optax.partition(transforms, labels)


_NAMES = {"beta_1": "b1", "beta_2": "b2", "epsilon": "eps", "momentum": "momentum", "weight_decay": "weight_decay"}


def _transform(
    plan: Plan, group: Group, optimizer: Callable[..., Any], rate: Any, arguments: dict[str, Any], follows: str
) -> Any:
    """The optimizer of one group, with hyperparameters by optax names; schedules are injected at each step."""
    import optax

    own = dict(group.hyperparameters)
    norm = own.pop("clipnorm", None)
    takes = inspect.signature(optimizer).parameters
    unknown = [name for name in own if _NAMES.get(name) not in takes]
    if unknown:
        raise ValueError(
            f"The group of {group.rows[0].path} has its own '{unknown[0]}', and {getattr(optimizer, '__name__', optimizer)} "
            f"takes {', '.join(takes)}. Leave it out of the plan."
        )
    decay: Any = own.pop("weight_decay", None)  # a number is already among the arguments
    numbers: dict[str, Any] = {_NAMES[name]: value for name, value in own.items()}
    if callable(decay):
        factor = group_decay(group, 1.0, follows)
        numbers["weight_decay"] = lambda step: decay(step) * factor
    over_time = any(map(callable, numbers.values()))
    made = optax.inject_hyperparams(optimizer) if over_time else optimizer
    transform = made(learning_rate=rate, **{**arguments, **numbers})
    if norm is None:
        return transform
    _check_norm(plan, group)
    return optax.chain(optax.clip_by_global_norm(norm), transform)


def _check_norm(plan: Plan, group: Group) -> None:
    """Check that the norm is a number for one group: a transform sees only the gradients of its own group."""
    if callable(group.hyperparameters["clipnorm"]):
        raise ValueError(
            f"The group of {group.rows[0].path} has a schedule for 'clipnorm', but optax takes only a number."
        )
    rule = group.rows[0].decided.get("clipnorm")
    others = [
        other
        for other in plan.groups
        if other.rows[0] is not group.rows[0] and other.rows[0].decided.get("clipnorm") == rule
    ]
    if others and "clipnorm" in others[0].hyperparameters:
        raise ValueError(
            f"{rule or 'A rule'} gives one 'clipnorm' to several groups ({group.rows[0].path}, {others[0].rows[0].path}), "
            "but an optax transform sees one group. Leave it out of the plan, and clip before with optax.masked."
        )


def _labels(plan: Plan, numbers: dict[str, str], parameters: Any) -> Any:
    """The pytree with each leaf replaced by the label of its group."""
    import jax

    paths = [path for path, _ in paths_and_values(parameters)]
    unknown = sorted(set(paths) - {row.path for row in plan.rows})
    if unknown:
        hint = did_you_mean(unknown[0], [row.path for row in plan.rows])
        raise KeyError(f"The plan does not cover {listed(unknown)}.{hint} Create it for the same pytree.")
    structure = jax.tree_util.tree_structure(parameters)
    return jax.tree_util.tree_unflatten(structure, [numbers.get(path, _FROZEN) for path in paths])


def _rate(group: Group, base: Any) -> Any:
    """The learning rate of a group: a number or a function of the step."""
    over_time = [factor for factor in (base, group.schedule) if callable(factor)]
    constant = group.multiplier * (1.0 if callable(base) else base)
    lowest = group.min_learning_rate
    if not over_time:
        return max(constant, lowest)

    def rate(step: Any) -> Any:
        value = constant
        for factor in over_time:
            value = factor(step) * value
        return keras.ops.maximum(value, lowest) if lowest else value

    return rate
