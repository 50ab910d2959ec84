"""What an optimizer checks before it takes a plan."""

import math
import warnings
from collections.abc import Sequence

import keras

from difflr import keras_private
from difflr.checks import did_you_mean, listed, shown
from difflr.optimizers.groups import check_held
from difflr.optimizers.multipliers_argument import MultipliersArgument
from difflr.plan import Plan, Row, layer_tree
from difflr.text_table import counted


def check_nothing_is_asked(argument: MultipliersArgument) -> None:
    """Checks an optimizer without variables. As in Keras, metrics and statistics can be computed with it.

    Raises:
        ValueError: If a variable should have a rate.
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
    """Checks that the plan trains something, with multipliers that Keras's float type can hold.

    Raises:
        ValueError: If it does not.
    """
    trainable = [row for row in plan.rows if not row.frozen]
    if not trainable:
        everything = "the only variable" if len(plan.rows) == 1 else f"all {len(plan.rows)} variables"
        raise ValueError(f"The plan freezes {everything}, so there is nothing to train. {plan!r}")
    check_held([row.multiplier for row in trainable], [row.path for row in trainable])


def check_base_rate(plan: Plan, learning_rate: object) -> None:
    """Checks that the learning rates in the plan's rules were divided by the optimizer's base rate.

    Args:
        plan: The plan.
        learning_rate: The base rate: a number or a schedule.

    Raises:
        ValueError: If it is another number, so that everything would train at other rates than stated.
    """
    stated = plan.learning_rate
    if (
        stated is not None
        and isinstance(learning_rate, float)
        and not math.isclose(stated, learning_rate, rel_tol=1e-5)
    ):
        raise ValueError(
            f"The plan's learning rates are for the base rate {stated:g}, and the optimizer has {learning_rate:g}: they "
            f"would all be {learning_rate / stated:g} times what the plan says. Make both alike: "
            f"difflr.Plan(model, rules, learning_rate={learning_rate:g})."
        )


def check_hyperparameters(plan: Plan, optimizer: keras.optimizers.Optimizer) -> None:
    """Checks that the optimizer reads in its update what the plan sets in the place of its numbers.

    Args:
        plan: The plan.
        optimizer: The optimizer.

    Raises:
        ValueError: If it has no such number, or one that cannot differ between groups.
    """
    names = {name: row for row in reversed(plan.rows) for name in row.hyperparameters}
    if not names:
        return
    known, kind = keras_private.hyperparameters(optimizer), type(optimizer).__name__
    for name, row in names.items():
        start = f"The plan sets '{name}' for {row.path} ({row.decided.get(name, 'no rule')}), and {kind}"
        if why := keras_private.why_not(optimizer, name):
            raise ValueError(
                f"{start} cannot give it to a group: {why}. For a group it has: {', '.join(sorted(known))}."
            )
        if name not in known:
            hint = did_you_mean(name, known)
            raise ValueError(f"{start} has no such number.{hint} For a group it has: {', '.join(sorted(known))}.")
        why = keras_private.why_constant(optimizer, name)
        if why and any(callable(each.hyperparameters.get(name)) for each in plan.rows):
            raise ValueError(f"{start} cannot change it over time: {why}. Give it a number.")


def check_all_are_listed(plan: Plan, variables: Sequence[keras.Variable]) -> None:
    """Checks what the plan trains and Keras does not list; an optimizer beside this one may train it.

    Args:
        plan: The plan.
        variables: What Keras lists.

    Raises:
        ValueError: If a rate would have no effect.
    """
    known = set(map(id, variables))
    others = [row for row in plan.rows if not row.frozen and id(row.variable) not in known]
    _check_not_frozen_by_hand(others)
    late = [row.path for row in others if layer_tree.marked_frozen(row.variable)]
    if late:
        raise ValueError(
            f"An earlier plan froze {listed(late)}, so Keras builds the optimizer without them, and it is too late to "
            "unfreeze them. Make the new optimizer with `multipliers=difflr.Plan(model, rules)`, which unfreezes them."
        )


def check_same_places(plan: Plan, bound: Plan) -> None:
    """Checks that a plan which was bound to variables by their order says the same of them as when bound by place.

    Args:
        plan: The plan bound by order.
        bound: The plan bound by place.

    Raises:
        ValueError: If the order differs: the state was loaded for the wrong layers.
    """
    both = [(row, bound.row(row.variable)) for row in plan.rows if not row.frozen]
    moved = [(row.path, there.path) for row, there in both if row.place != there.place]
    if moved:
        raise ValueError(
            f"The saved plan has the variables of this model in another order, beginning with {moved[0][0]}, where now is "
            f"{moved[0][1]}. Keras tells the optimizer of a plain model only the order, so the state was loaded for the "
            "wrong layers: derive the model from difflr.Model, or load it with `compile=False` and compile it again."
        )


def check_new_plan(plan: Plan) -> None:
    """Checks the plan for `replan`.

    Raises:
        TypeError: If it is no plan.
        ValueError: If it trains nothing, or what was frozen by hand.
    """
    if not isinstance(plan, Plan):
        raise TypeError(
            f"`replan` takes a difflr.Plan. Received: {shown(plan)} (of type {type(plan).__name__}). "
            "Make one: difflr.Plan(model, rules)."
        )
    check_trains_something(plan)
    _check_not_frozen_by_hand([row for row in plan.rows if not row.frozen])


def _check_not_frozen_by_hand(rows: Sequence[Row]) -> None:
    by_hand = [row.path for row in rows if layer_tree.frozen_by_hand(row.variable, row.layer)]
    if by_hand:
        raise ValueError(
            f"The plan assigns a rate to {listed(by_hand)}, which was set to `trainable = False` after the plan was made: "
            "it would have no effect. Make the plan again, or freeze in the plan, with difflr.FROZEN."
        )


def warn_of_decay_without_effect(plan: Plan, optimizer: keras.optimizers.Optimizer) -> None:
    """Warns if the plan scales the weight decay of an optimizer that has none; a decay of its own class's is unknown."""
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
    """The warning for a training that goes on in a phase which somebody else has begun.

    Args:
        rows: What is frozen for a time.
    """
    return (
        f"The loaded state was saved while {rows[0].decided['frozen']} was in force, so "
        f"{listed([row.path for row in rows])} stay frozen. Go on with the `PhaseScheduler` that was used, or unfreeze "
        "them before `fit`: difflr.unfreeze(model)."
    )
