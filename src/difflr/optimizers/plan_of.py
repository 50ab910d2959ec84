"""`plan_of`: the plan in force of a model."""

import dataclasses

import keras

from difflr import keras_private
from difflr.checks import listed, wrong_type
from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.unwrap import inner, other_optimizers, parts
from difflr.plan import Plan, Row


def plan_of(model: keras.Layer, optimizer: keras.optimizers.Optimizer | None = None) -> Plan:
    """The plan in force of a model.

    The plan comes from the optimizer, built or not, with any form of `multipliers`, also inside a `LossScaleOptimizer` or
    `MultiOptimizer`. A stock optimizer trains everything trainable at the base rate. Without an
    optimizer, the plan is the multipliers that layers declare. What a phase or `freeze_to` freezes is frozen in the plan in
    force; `plan.whole` is the plan without that. All tables, plots, logs and phases use this function.

    Args:
        model: A built Keras model.
        optimizer: The optimizer that trains it, if not the one the model is compiled with.

    Returns:
        The plan in force, with the current multipliers.

    Raises:
        ValueError: If the model is not built, or the optimizer trains none of its variables, as in a GAN with two
            optimizers.
        RuntimeError: On JAX between the batches of `fit`, before `model.jax_state_sync()`.

    Example:

    ```python
    import keras
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(difflr.optimizers.Adam(1e-3, multipliers={layers[0]: 0.1}), loss="mse")
    print(difflr.plan_of(model))
    ```
    """
    fresh, compiled = Plan(model), getattr(model, "optimizer", None)
    if (
        optimizer is None
        and not isinstance(inner(compiled), DifferentialOptimizer)
        and (own := other_optimizers(model))
    ):
        raise ValueError(
            f"{type(model).__name__} '{model.name}' is trained by the optimizers in {listed(own)}. Name the one whose plan "
            f"you want: difflr.plan_of(model, model.{own[0]})."
        )
    optimizer = compiled if optimizer is None else optimizer
    if optimizer is None:
        return fresh
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise wrong_type("`optimizer`", "a Keras optimizer", optimizer)
    several = parts(optimizer)
    plans = [_plan_of_part(model, fresh, part, alone=len(several) == 1) for part in several]
    if all(plan is None for plan in plans):
        raise ValueError(
            f"The optimizer '{optimizer.name}' trains no variable of {type(model).__name__} '{model.name}'. Name the one "
            "that does: difflr.plan_of(model, optimizer)."
        )
    found = [plan for plan in plans if plan is not None]
    return found[0] if len(found) == 1 else _joined(fresh, found)


def _plan_of_part(model: keras.Layer, fresh: Plan, optimizer: keras.optimizers.Optimizer, alone: bool) -> Plan | None:
    """The plan of one optimizer; `None` if it trains nothing of the model."""
    trained = set(map(id, keras_private.trained(optimizer)))
    if not isinstance(optimizer, DifferentialOptimizer):
        plan = fresh.changed(Row.undeclared)  # which ignores the multipliers that layers declare
    else:  # one of several optimizers knows only its own variables
        plan = optimizer.plan_for(model) if alone or not optimizer.built else optimizer.plan
    if trained and not any(id(row.variable) in trained for row in fresh.rows):
        return None
    return plan if alone else Plan.from_rows([row for row in plan.rows if id(row.variable) in trained or not trained])


def _joined(fresh: Plan, plans: list[Plan]) -> Plan:
    """The plans of several optimizers as one, with each row from the optimizer that trains the variable."""
    by_variable = {id(row.variable): row for plan in reversed(plans) for row in plan.rows}

    def change(row: Row) -> Row:
        found = by_variable.get(id(row.variable), row)
        if row.frozen:
            return row
        return dataclasses.replace(found, path=row.path, place=row.place, aliases=row.aliases, layer=row.layer)

    return fresh.changed(change)
