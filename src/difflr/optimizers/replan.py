"""`replan`: change a model's plan during training."""

import keras

from difflr import keras_private
from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.unwrap import inner, parts
from difflr.plan import Plan
from difflr.plan.rebinding import tied_to


def replan(model: keras.Model, plan: Plan, *, warmup_steps: int = 0, own_bias_correction: bool = True) -> None:
    """Replaces the plan of a compiled model; the optimizer keeps its state by variable.

    Call it before, between or inside calls of `fit`, also from a callback: the training step is rebuilt. The state of
    variables that the new plan freezes is kept in host memory and restored exactly when they are unfrozen. Variables that
    never trained start with fresh state and, in Adam, AdamW and Adamax, their own bias correction. Variables created
    after the optimizer was built (a new head, LoRA) are added.

    Args:
        model: A model compiled with a difflr optimizer.
        plan: The new plan of this model.
        warmup_steps: Integer, the number of steps over which the rate of newly unfrozen variables rises.
        own_bias_correction: Boolean, whether newly unfrozen variables count their own steps for the optimizer's bias
            correction.

    Raises:
        TypeError: If the optimizer is not a difflr optimizer, or `plan` is not a plan.
        ValueError: If the model is not compiled, or the plan is for another model, trains nothing, or trains something that
            `trainable = False` froze. Nothing is changed then.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=difflr.Plan(model, {"body": difflr.FROZEN})), loss="mse")
    x, y = np.ones((8, 4)), np.ones((8, 2))
    model.fit(x, y, verbose=0)
    difflr.replan(model, difflr.Plan(model, {"body": 0.1}))
    model.fit(x, y, verbose=0)
    ```
    """
    optimizer = _differential_optimizer(model, "replan")
    keras_private.sync_state(model)
    optimizer.check_plan(plan)
    optimizer.replan(tied_to(plan, model), warmup_steps=warmup_steps, own_bias_correction=own_bias_correction)
    ready_optimizer(model, "replan")
    keras_private.renew_step(model)


def ready_optimizer(model: keras.Model, name: str) -> DifferentialOptimizer:
    """The model's differential optimizer, built and bound to the model.

    Args:
        model: The model.
        name: The calling function, for errors.

    Raises:
        TypeError: If it is not a difflr optimizer.
        ValueError: If the model is not compiled.
    """
    optimizer = _differential_optimizer(model, name)
    optimizer.bind(model)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return optimizer


def _differential_optimizer(model: keras.Model, name: str) -> DifferentialOptimizer:
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"`{name}` is for a compiled model: call `model.compile(difflr.optimizers.Adam(...), ...)` first."
        )
    optimizer = inner(model.optimizer)
    if not isinstance(optimizer, DifferentialOptimizer):
        known = type(optimizer).__name__
        made_by = known if hasattr(keras.optimizers, known) and optimizer in parts(optimizer) else "differential"
        raise TypeError(
            f"`{name}` keeps optimizer state while variables are frozen, which needs a difflr optimizer. Received: {known}. "
            f"Compile with difflr.optimizers.{made_by}(...), or use difflr.Model."
        )
    return optimizer
