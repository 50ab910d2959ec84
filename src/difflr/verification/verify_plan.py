"""`VerifyPlan`: verifies the plan on the first real step of `fit`."""

import warnings

import keras

from difflr.plan import Plan
from difflr.text_table import counted
from difflr.verification.judge import judge
from difflr.verification.judgment import Verification, check_kept
from difflr.verification.observation import MAX_BATCHES, Observation
from difflr.verification.verify import check_arguments, check_compiled, promised_plan

Logs = dict[str, float] | None


class VerifyPlan(keras.callbacks.Callback):
    """Stops `fit` at its first step if the weights do not move as the plan says.

    Does the check of `difflr.verify` on the first update of the training. With gradient accumulation, a loss scale that
    starts too large or a warm-up from 0, that is not the first batch. The step is compiled a second time. The callback
    does not change training, bit for bit.

    Args:
        plan: The `difflr.Plan` to check. `None`: the plan of the model's optimizer.
        tolerance: Float, the largest relative error of a measured ratio. Defaults to 0.01.
        verbose: 0 or 1. Whether to print the table when the plan is kept.

    Raises:
        difflr.PlanNotKept: After the first update, with the table and the likely cause.
        ValueError: On `fit`, if there is no plan, it is for another model, the model trains with several
            optimizers, or several steps are compiled into one.

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
        check_arguments(plan, tolerance)
        self.plan = plan
        self.tolerance = tolerance
        self.verbose = verbose
        self.verification: Verification | None = None
        self._observation: Observation | None = None
        self._batches = 0

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        check_compiled(self.model)
        promised_plan(self.model, self.plan)
        self.verification, self._observation, self._batches = None, Observation(self.model), 0

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        self._look()
        if self._observation is not None and self._batches < MAX_BATCHES:
            self._observation.arm()
            self._batches += 1

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        self._look()

    def on_train_end(self, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        if self._observation is not None:
            warnings.warn(
                "VerifyPlan could not verify anything: the weights were not updated in the "
                f"{counted(self._batches, 'step')} it watched. The learning rate is 0, or gradients are "
                "accumulated over more steps or not finite.",
                stacklevel=2,
            )
        self._observation = None

    def _look(self) -> None:
        """Verifies the plan once the weights were updated."""
        if self._observation is None or not self._observation.take():
            return
        observation, self._observation = self._observation, None
        self.verification = judge(promised_plan(self.model, self.plan), observation, self.tolerance)
        check_kept(self.verification)
        if self.verbose:
            print(self.verification)
