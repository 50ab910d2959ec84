"""`replan`: another plan for a model, in the middle of its training."""

import keras

from difflr import keras_private
from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.unwrap import inner
from difflr.plan import Plan


def replan(model: keras.Model, plan: Plan, *, warmup_steps: int = 0, own_bias_correction: bool = True) -> None:
    """Gives a compiled model another plan; the optimizer keeps its state, variable by variable.

    It works before, between and inside calls of `fit`, in a callback too: the compiled step is made anew. What the new
    plan freezes leaves its state in host memory and finds it again, bit for bit, when it is unfrozen. What was never
    trained starts fresh, with a bias correction of its own in Adam, AdamW and Adamax. Variables that were not there
    when the optimizer was built (a new head, LoRA enabled since) join.

    Args:
        model: A model compiled with a differential optimizer.
        plan: The new plan, of this model.
        warmup_steps: Integer, the number of steps over which the rate of variables that join now rises.
        own_bias_correction: Boolean, whether variables that join now count the steps of the optimizer's bias correction
            for themselves.

    Raises:
        TypeError: If the optimizer is none of difflr's, or `plan` is no plan.
        ValueError: If the model is not compiled, or the plan is for another model, trains nothing, or trains what
            `trainable = False` froze. Nothing has changed then.

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
    optimizer = ready_optimizer(model, "replan")
    keras_private.sync_state(model)
    optimizer.replan(plan, warmup_steps=warmup_steps, own_bias_correction=own_bias_correction)
    keras_private.renew_step(model)


def ready_optimizer(model: keras.Model, name: str) -> DifferentialOptimizer:
    """The model's differential optimizer, built and told of the model.

    Args:
        model: The model.
        name: Who asks, for errors.

    Raises:
        TypeError: If it is none of difflr's.
        ValueError: If the model is not compiled.
    """
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"`{name}` is for a compiled model: call `model.compile(difflr.optimizers.Adam(...), ...)` first."
        )
    optimizer = inner(model.optimizer)
    if not isinstance(optimizer, DifferentialOptimizer):
        known = type(optimizer).__name__
        raise TypeError(
            f"`{name}` keeps the state of an optimizer while variables freeze and unfreeze, which needs one of difflr's. "
            f"Received: {known}. Compile with difflr.optimizers.{known}(...), or use difflr.Model."
        )
    optimizer.bind(model)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return optimizer
