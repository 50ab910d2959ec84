"""`TerminateOnNaN`: Keras's callback that also names the groups with weights that are not finite."""

import keras
import numpy as np

from difflr import keras_private
from difflr.checks import listed
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.unwrap import parts
from difflr.plan.group_names import groups_by_name


class TerminateOnNaN(keras.callbacks.TerminateOnNaN):
    """Stops training when the loss is NaN or infinite, and names the groups whose weights are not finite.

    Like `keras.callbacks.TerminateOnNaN`. Once the loss is NaN, so are all gradients: a check only then finds NaN in all
    groups that the last step trained. To find the group where NaN *began*, check the weights more often: `freq=1`
    checks after every batch, at the cost of one pass over the weights. The callback waits for the loss of every batch.

    What a NaN gradient does depends on the optimizer: a `LossScaleOptimizer` skips the step; otherwise the weights of its
    group become NaN, and with a global clip norm those of all groups.

    Args:
        raise_error: Boolean. `True` raises instead of stopping, so that `on_train_end` of other callbacks is not called
            and a backup is kept.
        freq: Integer n. Checks the weights after every n-th batch, too. Defaults to `None`: only when the loss is not
            finite.

    Raises:
        ValueError: If `freq` is not an integer >= 1.
        RuntimeError: During `fit` with `raise_error=True`.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(difflr.optimizers.SGD(0.1, multipliers=difflr.Plan(model, {"body": 0.1})), loss="mse")
    model.fit(np.ones((8, 4)), np.ones((8, 2)), callbacks=[difflr.TerminateOnNaN(freq=1)], verbose=0)
    ```

    Reference: `keras.callbacks.TerminateOnNaN`.
    """

    def __init__(self, raise_error: bool = False, freq: int | None = None):
        super().__init__()
        self.raise_error = raise_error  # Keras 3.12 does not know it
        if freq is not None and (isinstance(freq, bool) or not isinstance(freq, int) or freq < 1):
            raise ValueError(f"`freq` must be an integer >= 1, or None. Received: {freq!r}.")
        self.freq = freq

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: D102 - as in Keras
        # Not `on_batch_end` as in Keras's, which runs asynchronously: the weights would be those of a later batch.
        loss = (logs or {}).get("loss")
        bad = loss is not None and not np.isfinite(loss)
        if not bad and (self.freq is None or (batch + 1) % self.freq):
            return
        found = self._not_finite()
        if not bad and not found:
            return
        where = f"weights that are not finite in: {listed(found)}" if found else "all weights are finite"
        message = f"Batch {batch}: the loss is {loss}; {where}."
        if self.raise_error:
            raise RuntimeError(message)
        print(f"{message} Training stops.")
        self.model.stop_training = True

    def _not_finite(self) -> list[str]:
        """The names of groups with NaN or infinite weights, and the paths of such variables that are not trainable."""
        names: list[str] = []
        for part in parts(self.model.optimizer):
            if isinstance(part, DifferentialOptimizer) and keras_private.trained(part):
                groups = groups_by_name(part.plan).items()
                names += [name for name, group in groups if not all(_is_finite(row.variable) for row in group.rows)]
        trained = names or [v.path for v in self.model.trainable_variables if not _is_finite(v)]
        return [*trained, *[v.path for v in self.model.non_trainable_variables if not _is_finite(v)]]


def _is_finite(variable: keras.Variable) -> bool:
    value = keras.ops.convert_to_tensor(variable)
    if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype)):
        return True
    return bool(keras.ops.convert_to_numpy(keras.ops.all(keras.ops.isfinite(value))))
