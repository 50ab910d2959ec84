"""Checks of a plan before an optimizer uses it."""

import math
import warnings
from collections.abc import Sequence

import keras

from difflr import keras_private
from difflr.checks import did_you_mean, listed, shown
from difflr.optimizers.groups import check_held
from difflr.optimizers.multipliers_argument import MultipliersArgument
from difflr.plan import Plan, Row, freezing
from difflr.text_table import counted


def check_names_no_variables(argument: MultipliersArgument) -> None:
    """Checks an optimizer built without variables; as in Keras, `fit` may use it to compute metrics and statistics.

    Raises:
        ValueError: If its `multipliers` name variables.
    """
    if argument.plan is not None and all(row.frozen for row in argument.plan.rows):
        raise ValueError(f"The plan freezes everything, so there is nothing to train. {argument.plan!r}")
    if argument.names_variables:
        raise ValueError(
            "The optimizer is built without variables, so there is nothing to train. Either no layer is trainable, or "
            "the model was saved in the legacy `.h5` format, from which Keras restores no optimizer: save it as "
            "`.keras`, or load it with `compile=False` and compile it again."
        )
    warnings.warn("The model has no trainable variables: the optimizer trains nothing.", stacklevel=5)


def check_trains_something(plan: Plan) -> None:
    """Checks that the plan trains something, with multipliers that fit Keras's float type.

    Raises:
        ValueError: If it does not.
    """
    trainable = [row for row in plan.rows if not row.frozen]
    if not trainable:
        everything = "the only variable" if len(plan.rows) == 1 else f"all {len(plan.rows)} variables"
        raise ValueError(f"The plan freezes {everything}, so there is nothing to train. {plan!r}")
    check_held([row.multiplier for row in trainable], [row.path for row in trainable])


def check_base_rate(plan: Plan, *rates: object) -> None:
    """Checks that learning rates in the plan's rules are relative to the optimizer's base rate.

    Args:
        plan: The plan.
        *rates: The base rate: a number or a schedule; if it was changed since, also the current one.

    Raises:
        ValueError: If they are relative to another base rate.
    """
    stated, numbers = plan.learning_rate, [rate for rate in rates if isinstance(rate, float)]
    if stated is not None and numbers and not any(math.isclose(stated, rate, rel_tol=1e-5) for rate in numbers):
        learning_rate = numbers[-1]
        raise ValueError(
            f"The plan's learning rates are for the base rate {stated:g}, but the optimizer has {learning_rate:g}: they "
            f"would be {learning_rate / stated:g} times what the plan says. Use one base rate: "
            f"difflr.Plan(model, rules, learning_rate={learning_rate:g})."
        )


def check_hyperparameters(plan: Plan, optimizer: keras.optimizers.Optimizer) -> None:
    """Checks that the optimizer can give each group the hyperparameters that the plan sets.

    Args:
        plan: The plan.
        optimizer: The optimizer.

    Raises:
        ValueError: If it has no such hyperparameter, or it cannot differ between groups.
    """
    names = {name: row for row in reversed(plan.rows) for name in row.hyperparameters}
    if not names:
        return
    known, kind = keras_private.hyperparameters(optimizer), type(optimizer).__name__
    for name, row in names.items():
        start = f"The plan sets '{name}' for {row.path} ({row.decided.get(name, 'no rule')}), and {kind}"
        if why := keras_private.why_not(optimizer, name):
            raise ValueError(f"{start} cannot give it to a group: {why}. Those of a group: {', '.join(sorted(known))}.")
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"{start} has no such hyperparameter.{hint} Those of a group: {', '.join(sorted(known))}.")
        why = keras_private.why_constant(optimizer, name)
        if why and any(callable(scheduled.hyperparameters.get(name)) for scheduled in plan.rows):
            raise ValueError(f"{start} cannot change it over time: {why}. Give it a number.")


def check_all_are_listed(plan: Plan, variables: Sequence[keras.Variable]) -> None:
    """Checks variables that the plan trains and Keras does not list; another optimizer may train them.

    Args:
        plan: The plan.
        variables: The trainable variables by Keras.

    Raises:
        ValueError: If they were frozen by hand, or by an earlier plan.
    """
    known = set(map(id, variables))
    others = [row for row in plan.rows if not row.frozen and id(row.variable) not in known]
    if not others:
        return
    _check_not_frozen_by_hand(others)
    late = [row.path for row in others if freezing.marked_frozen(row.variable)]
    if late:
        raise ValueError(
            f"An earlier plan froze {listed(late)}, so Keras builds the optimizer without them, and it is too late to "
            "unfreeze them. Make the new optimizer with `multipliers=difflr.Plan(model, rules)`, which unfreezes them."
        )


def check_same_places(plan: Plan, bound: Plan) -> None:
    """Checks that binding a plan to variables by order and by place gives the same rows.

    Args:
        plan: The plan bound by order.
        bound: The plan bound by place.

    Raises:
        ValueError: If not: the state was loaded into the wrong layers.
    """
    both = [(row, bound.row(row.variable)) for row in plan.rows if not row.frozen]
    moved = [(row.path, there.path) for row, there in both if row.place != there.place]
    if moved:
        raise ValueError(
            f"The saved plan lists the variables of this model in another order: {moved[0][0]} first, where the model has "
            f"{moved[0][1]}. Keras passes a plain model's optimizer the order only, so the state was loaded into the "
            "wrong layers: derive the model from difflr.Model, or load it with `compile=False` and compile it again."
        )


def check_new_plan(plan: Plan) -> None:
    """Checks the plan for `replan`.

    Raises:
        TypeError: If it is not a plan.
        ValueError: If it trains nothing, or something frozen by hand.
    """
    if not isinstance(plan, Plan):
        raise TypeError(
            f"`replan` takes a difflr.Plan. Received: {shown(plan)} (of type {type(plan).__name__}). "
            "Make one: difflr.Plan(model, rules)."
        )
    check_trains_something(plan)
    _check_not_frozen_by_hand([row for row in plan.rows if not row.frozen])


def _check_not_frozen_by_hand(rows: Sequence[Row]) -> None:
    by_hand = [row.path for row in rows if freezing.frozen_by_hand(row.variable, row.layer)]
    if by_hand:
        raise ValueError(
            f"The plan assigns a rate to {listed(by_hand)}, which was set to `trainable = False` after the plan was made: "
            "it would have no effect. Make the plan again, or freeze in the plan, with difflr.FROZEN."
        )


def warn_of_decay_without_effect(plan: Plan, optimizer: keras.optimizers.Optimizer) -> None:
    """Warns if the plan scales the weight decay of an optimizer without one, unless its class has its own."""
    if keras_private.decays_by_itself(type(optimizer)):
        return
    decays = [name for name in vars(optimizer) if name.endswith(keras_private.DECAY) and getattr(optimizer, name)]
    rows = [row for row in plan.rows if not row.frozen and keras_private.DECAY not in row.hyperparameters]
    scaled = [row.path for row in rows if row.weight_decay_multiplier not in (0, 1)]
    if scaled and not decays:
        warnings.warn(
            f"The plan scales the weight decay of {counted(len(scaled), 'variable')} ({scaled[0]}, ...), but "
            f"{type(optimizer).__name__} has `weight_decay=None`: it has no effect. Give it a `weight_decay`.",
            stacklevel=4,
        )


def still_frozen(rows: Sequence[Row]) -> str:
    """The warning for training on in a phase that was loaded without its `PhaseScheduler`.

    Args:
        rows: The rows that the phase freezes.
    """
    return (
        f"The loaded state was saved while {rows[0].decided['frozen']} was in force, so "
        f"{listed([row.path for row in rows])} stay frozen. Continue with the same `PhaseScheduler`, or unfreeze "
        "them before `fit`: difflr.unfreeze(model)."
    )
