"""`KeepBetterHead`: a pretrained body is not spoiled: what the head reached alone is kept if it was better."""

import math
import warnings

import keras
import numpy as np

from difflr.phases.metric import direction


class KeepBetterHead(keras.callbacks.Callback):
    """Goes back to the end of the head's own stage if training everything made it worse on validation data, and says so.

    Compared are the values of the first metric of which it is known which way is better, else of the loss.

    Args:
        freeze_epochs: Integer. The epochs of the head alone.

    Example:

    ```python
    from difflr.fine_tuning.keep_better_head import KeepBetterHead

    callbacks = [KeepBetterHead(freeze_epochs=1)]
    ```
    """

    def __init__(self, freeze_epochs: int):
        super().__init__()
        self._last_of_head = freeze_epochs - 1
        self._values: list[np.ndarray] = []
        self._at_head: dict[str, float] = {}
        self._now: dict[str, float] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        self._now = {name: float(value) for name, value in (logs or {}).items() if name.startswith("val_")}
        if epoch == self._last_of_head:
            self._at_head = self._now
            self._values = [np.array(keras.ops.convert_to_numpy(variable)) for variable in self.model.variables]

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        names = [name for name in self._at_head if name != "val_loss" and direction(name)]
        name = (names or [name for name in self._at_head if name == "val_loss"] or [None])[0]  # type: ignore[list-item]
        if name is None or name not in self._now or self._now is self._at_head:
            return
        head, now = self._at_head[name], self._now[name]
        sign = direction(name) or -1
        if math.isnan(head) or not (math.isnan(now) or sign * now < sign * head):
            return
        for variable, value in zip(self.model.variables, self._values, strict=True):
            variable.assign(value)
        warnings.warn(
            f"Training everything made the model worse than its head alone: {name} {now:.4g} after it, {head:.4g} before. "
            "The weights are those of the head's own stage.",
            stacklevel=2,
        )
