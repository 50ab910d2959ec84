"""`ReduceLROnPlateau`: Keras's callback, for one part of the model."""

import types
import warnings
from typing import Any

import keras

from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.replan import ready_optimizer
from difflr.optimizers.unwrap import base_rate

_KEPT = ("best", "wait", "cooldown_counter")


class ReduceLROnPlateau(keras.callbacks.Callback):
    """Reduces the learning rate of one part of the model when a metric has stopped improving.

    Like `keras.callbacks.ReduceLROnPlateau`, but it reduces the multipliers of `target`. Other groups and the base rate do
    not change; the base rate may be a schedule. Nothing is recompiled. The multipliers, the best value and the epochs
    waited are saved with the model, and a `fit` that continues at the next epoch (`initial_epoch`, or `BackupAndRestore`
    after this callback in the list) continues with them. Epochs in which a phase freezes all of `target` do not count.

    Args:
        target: A layer, a variable, a layer-tree path, or any other target of a rule. Variables that share a multiplier
            are reduced together, so `target` must include all of them.
        monitor: As in Keras, like all arguments below.
        factor: Float below 1.
        patience: Integer, the number of epochs without improvement.
        min_lr: Float, the lowest effective rate to reduce `target` to. A rule's `min_learning_rate` applies as well.
        verbose: 0 or 1.
        mode: `"auto"`, `"min"` or `"max"`.
        min_delta: Float, the smallest change that is an improvement.
        cooldown: Integer, the number of epochs to wait after a reduction.

    Raises:
        ValueError: If `factor` is not below 1; on `fit`, if other variables share a multiplier with `target`.
        KeyError: On `fit`, if nothing in `target` is trainable.
        TypeError: On `fit`, if the optimizer is not a difflr optimizer.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=difflr.Plan(model, {"body": 0.1})), loss="mse")
    plateau = difflr.ReduceLROnPlateau("body", monitor="loss", factor=0.5, patience=1, min_delta=10.0)
    model.fit(np.ones((8, 4)), np.ones((8, 2)), epochs=2, callbacks=[plateau], verbose=0)
    assert model.optimizer.multipliers["body"] == 0.05
    ```

    Reference: `keras.callbacks.ReduceLROnPlateau`; `torch.optim.lr_scheduler.ReduceLROnPlateau` over one parameter group.
    """

    def __init__(
        self,
        target: Any,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_lr: float = 0.0,
        *,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
    ):
        super().__init__()
        self.target = target
        self._keras = keras.callbacks.ReduceLROnPlateau(
            monitor, factor, patience, verbose, mode, min_delta, cooldown, min_lr=min_lr
        )
        self._key = (
            f"ReduceLROnPlateau of {monitor}, {target if isinstance(target, str) else getattr(target, 'name', '')}"
        )
        self._begins = True

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        optimizer = ready_optimizer(self.model, "ReduceLROnPlateau")
        if not optimizer.multipliers.waits(self.target):
            optimizer.multipliers.scale(self.target, 1.0)
        # Keras's callback uses the model's metrics and the optimizer's rate, here the rate of the target.
        self._keras.set_model(
            types.SimpleNamespace(optimizer=_RateOf(optimizer, self.target), metrics=self.model.metrics)
        )
        self._keras.on_train_begin()
        self._begins = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        saved = self._saved().get(self._key) if self._begins else None
        self._begins = False
        if saved is None or epoch == 0:
            return
        if saved["epoch"] != epoch:
            warnings.warn(
                f"ReduceLROnPlateau starts fresh: its state was saved after epoch {saved['epoch']}, but training continues "
                f"after epoch {epoch}. Put it before the callback that saves the model.",
                stacklevel=2,
            )
            return
        for name in _KEPT:
            setattr(self._keras, name, saved[name])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        saved = self._saved()  # first, as it syncs the state on JAX
        if not ready_optimizer(self.model, "ReduceLROnPlateau").multipliers.waits(self.target):
            self._keras.on_epoch_end(epoch, dict(logs or {}))
        best = self._keras.best
        kept = {"best": None if best is None else float(best), "wait": self._keras.wait}
        saved[self._key] = {**kept, "cooldown_counter": self._keras.cooldown_counter, "epoch": epoch + 1}

    def _saved(self) -> dict[str, Any]:
        return ready_optimizer(self.model, "ReduceLROnPlateau").callback_state


class _RateOf:
    """The optimizer for Keras's callback, with the rate of a part of the model.

    Args:
        optimizer: The optimizer.
        target: The part.
    """

    def __init__(self, optimizer: DifferentialOptimizer, target: Any):
        self._optimizer = optimizer
        self._target = target

    @property
    def learning_rate(self) -> float:
        """The highest effective rate in the part, ignoring floors of the plan."""
        return base_rate(self._optimizer) * self._optimizer.multipliers.scale(self._target, 1.0)

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self._optimizer.multipliers.scale(self._target, rate / self.learning_rate)
