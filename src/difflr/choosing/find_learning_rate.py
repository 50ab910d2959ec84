"""`find_learning_rate`: the classic sweep over learning rates."""

import itertools
import math
from collections.abc import Iterator

import keras
import numpy as np

from difflr.checks import checked_rate, checked_steps
from difflr.choosing.examples import Batch, Examples, read_examples
from difflr.choosing.learning_rate_curve import LearningRateCurve
from difflr.choosing.setting import setting_of
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan
from difflr.plan.targets import Targets
from difflr.verification.snapshot import Snapshot


def find_learning_rate(
    model: keras.Model,
    x: object,
    y: object = None,
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    num_steps: int = 100,
    plan: Plan | None = None,
    target: object = None,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    loss: object = None,
    sample_weight: object = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> LearningRateCurve:
    """Trains at a learning rate that rises at every step, and returns the loss at each rate.

    The sweep ends when the loss is four times its minimum, or NaN. Afterwards everything is restored bit for bit: weights,
    moving statistics, optimizer, seeds, metrics, `trainable` flags.

    Args:
        model: A built Keras model.
        x: As in `fit`: arrays, a `tf.data.Dataset`, a torch `DataLoader`, a `keras.utils.PyDataset`, or a
            generator, from which only the needed batches are taken.
        y: As in `fit`: the targets, unless `x` includes them.
        lowest: Float > 0. The first rate. Defaults to 1e-7.
        highest: Float > `lowest`. The last rate. Defaults to 10.
        num_steps: Integer. The number of updates in the sweep. Defaults to 100.
        plan: A `difflr.Plan`, whose multipliers apply. By default the optimizer's, or one rate for everything.
        target: A target as in `difflr.Rule`, such as `"backbone"` or `"kind:head"`: only this part trains. The rates
            are still base rates; the plan's multipliers apply to them.
        optimizer: As for `difflr.fine_tune`.
        loss: As in `compile`; needed if the model is not compiled.
        sample_weight: As in `fit`, for arrays.
        batch_size: As in `fit`, for arrays.
        seed: Integer, the seed of the order of the examples.

    Returns:
        A `difflr.LearningRateCurve`: the curve, and four suggestions.

    Raises:
        TypeError: If an argument has an unknown form.
        ValueError: If a number is out of range; if the model is not built, or neither compiled nor given a `loss`; if the
            plan trains nothing; or if the training step reports no loss.

    Example:

    ```python
    import keras
    import difflr

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    curve = difflr.find_learning_rate(model, x, y, loss=loss, num_steps=20)
    print(curve)
    ```

    Reference: fastai's `Learner.lr_find`; Smith, "Cyclical Learning Rates for Training Neural Networks" (WACV 2017).
    """
    lowest, highest = checked_rate(lowest, "lowest"), checked_rate(highest, "highest")
    if highest <= lowest:
        raise ValueError(f"`highest` must be above `lowest`. Received: {lowest:g} and {highest:g}.")
    num_steps = checked_steps(num_steps, lowest=2)
    setting = setting_of(model, optimizer, loss).for_trials()
    plan = setting.plan(plan) or Plan(model)
    plan = plan if target is None else _only(target, plan, model)
    accumulated = getattr(setting.own, "gradient_accumulation_steps", None) or 1
    sweep = _Sweep([lowest * (highest / lowest) ** (step / (num_steps - 1)) for step in range(num_steps)])
    with Snapshot(model):
        examples = read_examples(x, y, sample_weight, batch_size=batch_size, max_batches=num_steps * accumulated)
        setting.compile(plan, lowest)
        model.fit(
            _endless(examples, seed),
            epochs=num_steps,  # one step per epoch: Keras logs each loss, and JAX sees the rate set before it
            steps_per_epoch=accumulated,
            callbacks=[sweep],
            shuffle=False,
            verbose=0,
        )
    return sweep.curve


class _Sweep(keras.callbacks.Callback):
    """Sets the rate before each step, and records the loss after it."""

    def __init__(self, rates: list[float]):
        super().__init__()
        self._rates = rates
        self.curve = LearningRateCurve([], [], len(rates))

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        parts(self.model.optimizer)[0].learning_rate = self._rates[epoch]

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if not logs or "loss" not in logs:
            raise ValueError(
                f"The training step of '{self.model.name}' reports no 'loss', which the sweep records. Received: "
                f"{', '.join(logs or {}) or 'nothing'}. Return one under this name from `train_step`."
            )
        self.curve.rates.append(self._rates[epoch])
        self.curve.losses.append(float(logs["loss"]))
        smoothed = self.curve.smoothed
        best = min(smoothed)
        # Four times the minimum, as in fastai; this also works for negative losses, such as a log likelihood.
        if not math.isfinite(smoothed[-1]) or smoothed[-1] > best + 3 * abs(best):
            self.model.stop_training = True


def _endless(examples: Examples, seed: int) -> Iterator[Batch]:
    everything = np.arange(len(examples))
    for number in itertools.count():
        steps = examples.steps(everything, -(-len(everything) // examples.batch_size), seed + number)
        yield from map(steps.__getitem__, range(steps.num_batches))


def _only(target: object, plan: Plan, model: keras.Model) -> Plan:
    """The plan with everything but the target frozen."""
    trained = Targets(model).ids(target) & {id(row.variable) for row in plan.rows if not row.frozen}
    if not trained:
        raise ValueError(
            f"The plan trains nothing in the target {target!r}: all of it is frozen. Choose another target or plan."
        )
    return plan.only(trained, f"only {target!r} trains")
