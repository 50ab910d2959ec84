"""`VerifyPlan`: verifies the plan on the first real step of `fit`."""

from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers import DifferentialOptimizer, plan_of
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan
from difflr.verification.judgement import PlanNotKept, Verification
from difflr.verification.observation import MAX_BATCHES, Observation


class VerifyPlan(keras.callbacks.Callback):
    """Stops `fit` at its first step if the weights do not move as the plan says.

    What `Plan.verify` does on copies, on the first step of the training itself in which the weights change: later with
    gradient accumulation, a loss scale that is too large at first, or a warm-up that begins at a rate of 0. That step is
    compiled once more; all others are as they were.

    Args:
        plan: The `difflr.Plan` that is promised. `None`: that of the model's optimizer.
        tolerance: Float, how far a measured ratio may be off, relatively. Defaults to 0.01.
        verbose: 0 or 1. Whether to print the table when the plan is kept.

    Raises:
        difflr.PlanNotKept: After the first step, with the table and who is to blame.
        ValueError: On `fit`, if there is no plan, or several steps are compiled into one.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    plan = difflr.Plan(model, {"body": 0.1})
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=plan), loss="mse")
    x, y = np.random.default_rng(0).normal(size=(8, 4)), np.ones((8, 2))
    model.fit(x, y, callbacks=[difflr.VerifyPlan(plan)], verbose=0)
    ```
    """

    def __init__(self, plan: Plan | None = None, tolerance: float = 0.01, verbose: int = 0):
        super().__init__()
        if plan is not None and not isinstance(plan, Plan):
            raise TypeError(
                f"`plan` must be a difflr.Plan or None. Received: {plan!r} (of type {type(plan).__name__})."
            )
        if not 0 < tolerance < 1:
            raise ValueError(f"`tolerance` is relative, above 0 and below 1. Received: {tolerance!r}.")
        self.plan = plan
        self.tolerance = tolerance
        self.verbose = verbose
        self.verification: Verification | None = None
        self._observation: Observation | None = None

    def set_model(self, model: keras.Model) -> None:  # noqa: D102 - as in Keras
        super().set_model(model)
        everybody = keras_private.callback_list()
        if everybody is not None:  # last in a batch's beginning: it has to see what the others do to the rates
            everybody.callbacks = [each for each in everybody.callbacks if each is not self] + [self]

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        from difflr.verification.verify import check_compiled

        check_compiled(self.model)
        self.verification, self._observation = None, None
        self._is_armed, self._batches = False, 0
        self._promised()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        if self.verification is not None or self._batches > MAX_BATCHES:
            return
        if self._batches:
            self._look()
        if self.verification is not None:
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self._batches += 1
        rates = [float(keras.ops.convert_to_numpy(part.learning_rate)) for part in parts(self.model.optimizer)]
        if min(rates) == 0:
            self._batches = 0
            return
        if self._observation is None:
            self._observation = Observation(self.model)
        self._observation.arm()
        self._is_armed = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._look()

    def _look(self) -> None:
        """After a step: whether it tells."""
        from difflr.verification.verify import judge

        if not self._is_armed or self._observation is None:
            return
        self._is_armed = False
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        if not self._observation.take():
            return
        self.verification = judge(self._promised(), self.model, self._observation, self.tolerance)
        self._observation = None
        if not self.verification.kept:
            raise PlanNotKept(self.verification)
        if self.verbose:
            print(self.verification)

    def _promised(self) -> Plan:
        if self.plan is not None:
            return self.plan
        for part in parts(self.model.optimizer):
            if isinstance(part, DifferentialOptimizer) and len(parts(self.model.optimizer)) == 1:
                return plan_of(self.model).whole
        raise ValueError(
            f"Which plan is to be verified? The optimizer, {type(self.model.optimizer).__name__}, has none. Give "
            "VerifyPlan(plan)."
        )
