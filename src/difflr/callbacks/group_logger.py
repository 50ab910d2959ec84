"""`GroupLogger`: the rate, the update and the gradient of every group, in Keras's logs."""

import copy
import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence

import keras
import numpy as np

from difflr import keras_private
from difflr.callbacks.measured_step import Measure, MeasuredStep, Moves, Tensor, check_one_optimizer
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import effective_rates, parts
from difflr.phases.phase_scheduler import PhaseScheduler
from difflr.phases.resolve import resolve
from difflr.plan import Plan, Row, layer_tree
from difflr.plan.group_names import names_of

RATE = "learning_rate"
MEASURES = ("update_ratio", "gradient_norm")
Logs = dict[str, float] | None


class GroupLogger(keras.callbacks.Callback):
    """Logs the learning rate, update and gradient of every group of the plan.

    All callbacks that read Keras's logs, such as `CSVLogger` and `TensorBoard`, get for each group:

    - `learning_rate/<group>`: its effective rate in the measured step;
    - `update_ratio/<group>`: the norm of that step's update, weight decay included, divided by the norm of the
      weights before it; 1 if these weights were all 0, such as the biases of a new layer;
    - `gradient_norm/<group>`: the norm of the gradient in that step, before clipping and accumulation and without the loss
      scale; with several TensorFlow replicas, of the first replica's part of the batch.

    The callback works at any position in the list and does not change training, bit for bit. The progress bar does not
    show its entries. Groups have the same names as in all tables and plots; groups that the plan freezes are left out.
    With `difflr.PhaseScheduler`, groups are split so that each has one rate, or is frozen, in every phase: names stay the
    same in all epochs, and a group that a phase freezes is logged as 0. A stock Keras optimizer has one group, `all`.

    Args:
        freq: `"epoch"`, the default, measures the second-to-last batch of each epoch (the last may be smaller), or the
            first while the number of batches is unknown. An integer n measures every n-th batch: that batch's logs have
            the values; the epoch's logs have the last rates and the means of the other entries.

    Raises:
        ValueError: If `freq` is invalid; on `fit`, if there are two `GroupLogger`s, or the model has other optimizers
            besides that of `compile`.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    plan = difflr.Plan(model, {"body": 0.1})
    model.compile(difflr.optimizers.Adam(1e-3, multipliers=plan), loss="mse")
    x, y = np.ones((8, 4)), np.ones((8, 2))
    history = model.fit(x, y, epochs=2, callbacks=[difflr.GroupLogger()], verbose=0)
    print(history.history["learning_rate/body"])  # [0.0001, 0.0001]
    ```

    Reference: the ratio of update and weights is from Karpathy, CS231n, "Ratio of weights:updates".
    """

    def __init__(self, freq: str | int = "epoch"):
        super().__init__()
        valid = freq == "epoch" or (isinstance(freq, int) and not isinstance(freq, bool) and freq >= 1)
        if not valid:
            raise ValueError(f"`freq` must be 'epoch' or a number of batches, 1 or more. Received: {freq!r}.")
        self.freq = freq
        self._groups: dict[str, frozenset[int]] = {}  # label -> identities of variables, for each `fit`
        self._step: MeasuredStep | None = None
        self._rates: dict[int, float] = {}  # of the last measured step
        self._schedulers: list[PhaseScheduler] = []
        if freq != "epoch":
            # Keras runs callbacks asynchronously, which is faster, unless one has this method.
            self.on_train_batch_end = self._after_batch

    # -- what Keras calls ---------------------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:  # noqa: D102 - as in Keras
        super().set_model(model)
        self._watched = model  # on JAX each access to `self.model` syncs the state back, after every batch
        self._schedulers = []
        neighbors = keras_private.callback_list()
        if neighbors is None:
            return
        others = [callback for callback in neighbors.callbacks if callback is not self]
        if any(isinstance(callback, GroupLogger) for callback in others):
            raise ValueError("`callbacks` has two GroupLoggers, whose logs would have the same names. Take one out.")
        # A new list: Keras is iterating over the old one, in which the progress bar does not have its model yet.
        neighbors.callbacks = [self, *(_shortened(callback, model) for callback in others)]
        self._schedulers = [callback for callback in others if isinstance(callback, PhaseScheduler)]

    def on_train_begin(self, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        check_one_optimizer(self.model)
        if not self.model.optimizer.built:  # some backends build it in the first step
            with keras_private.strategy_scope(self.model):
                self.model.optimizer.build(self.model.trainable_variables)
        self._step = None
        self._num_batches: int | None = self.params.get("steps")
        self._seen, self._next = 0, 0 if self.freq == "epoch" else int(self.freq)

    def on_train_end(self, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        self._step = None

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        self._measured: list[list[list[float]]] = []
        self._rates = {}
        self._batch, self._is_over = 0, False
        if self._step is None:  # not earlier, as other callbacks may restore checkpoints
            self._groups = self._find_groups()
            self._step = MeasuredStep(norms(list(self._groups.values())), before=self._note_rates)
        self._applied = keras_private.applications(parts(self._watched.optimizer)[0])
        self._target = self._target_of_epoch()

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        self._batch = batch
        if self._step is not None and self._is_due(batch):
            self._step.arm(self._watched)
        self._seen += self._watched.steps_per_execution

    def _after_batch(self, batch: int, logs: dict[str, float]) -> None:
        if self._note():
            logs.update(self._entries(self._measured[-1:]))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:  # noqa: D102 - as in Keras
        self._note()
        self._num_batches = self._num_batches or self._batch + self._watched.steps_per_execution
        if logs is not None:
            logs.update(self._entries(self._measured))

    # -- when ---------------------------------------------------------------------------------------------------------

    def _is_due(self, batch: int) -> bool:
        """Whether to measure the call of the model's step that begins with this batch."""
        if self.freq == "epoch":
            due = self._target is None or batch >= self._target
            if not due or self._is_over or not self._changes_weights(batch):
                return False
            self._is_over = True
            return True
        if self._seen + self._watched.steps_per_execution < self._next or not self._changes_weights(batch):
            return False
        self._next += int(self.freq)
        return True

    def _target_of_epoch(self) -> int | None:
        """The batch at which the last call begins that changes the weights, before the last batch if possible."""
        number, stride = self._num_batches, self._watched.steps_per_execution
        if number is None:
            return None
        fitting = (batch for batch in reversed(range(0, number, stride)) if self._changes_weights(batch))
        last = next(fitting, None)
        return next(fitting, last) if last is not None and last + stride >= number else last

    def _changes_weights(self, batch: int) -> bool:
        """Whether the call that begins with this batch ends with an update, as gradients may be accumulated."""
        after = self._applied + batch + self._watched.steps_per_execution
        return after % max(part.gradient_accumulation_steps or 1 for part in parts(self._watched.optimizer)) == 0

    # -- what ---------------------------------------------------------------------------------------------------------

    def _note_rates(self) -> None:
        self._rates = effective_rates(self._watched.optimizer)

    def _note(self) -> bool:
        """Stores the measures of the last step, and returns whether there are any."""
        found = None if self._step is None else self._step.take()
        if found is not None:
            self._measured.append(found.tolist())
        return found is not None

    def _entries(self, measured: Sequence[Sequence[Sequence[float]]]) -> dict[str, float]:
        """The entries for the logs: rates, and means of the measures."""
        rates = self._rates or effective_rates(self._watched.optimizer)
        entries = {}
        for number, (label, group) in enumerate(self._groups.items()):
            entries[f"{RATE}/{label}"] = next((rates[key] for key in group if key in rates), 0.0)
            for position, name in enumerate(MEASURES):
                entries[f"{name}/{label}"] = _mean([measures[position][number] for measures in measured])
        return entries

    def _find_groups(self) -> dict[str, frozenset[int]]:
        """The variables of each group of the optimizer's plan, by the group's name."""
        # The plan of an optimizer without a model has other paths.
        paths = {id(leaf.variable): leaf.path for leaf in layer_tree.walk(self._watched) if leaf.variable is not None}
        every: dict[int, Row] = {}
        members: dict[Hashable, list[Row]] = {}
        for number, part in enumerate(parts(self._watched.optimizer)):
            plans: list[Plan] = []
            if isinstance(part, DifferentialOptimizer):
                rows = part.plan.whole.rows
                plans = self._plans(part, part.plan.whole)
            else:
                trained = set(map(id, keras_private.trained(part)))
                rows = [row for row in plan_of(self._watched, part).rows if id(row.variable) in trained]
            for row in rows:
                row = dataclasses.replace(row, path=paths.get(id(row.variable), row.path))
                every.setdefault(id(row.variable), row)
                if not row.frozen:
                    in_phases = [made.row(row.variable).setting for made in plans]
                    members.setdefault((number, row.setting, *in_phases), []).append(row)
        labels = names_of(list(members.values()), list(every.values()))
        groups = [frozenset(id(row.variable) for row in rows) for rows in members.values()]
        return dict(zip(labels, groups, strict=True))

    def _plans(self, optimizer: DifferentialOptimizer, plan: Plan) -> list[Plan]:
        """The plans in force: in each phase of this `fit`, or now."""
        if self._schedulers:
            rate = optimizer.first_rate
            return [made for s in self._schedulers for made in resolve(s.phases, plan, self._watched, rate)]
        return [optimizer.plan]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _shortened(callback: keras.callbacks.Callback, model: keras.Model) -> keras.callbacks.Callback:
    """A copy of a progress bar that does not show these entries, for which it has no room; other callbacks as they are.

    A copy, as the progress bar may be the user's, for use in other `fit`s.
    """
    if not isinstance(callback, keras.callbacks.ProgbarLogger):
        return callback
    prefixes = tuple(f"{name}/" for name in (RATE, *MEASURES))
    short = copy.copy(callback)
    short.set_model(model)

    def without(method: Callable[[int, Logs], None]) -> Callable[[int, Logs], None]:
        def call(number: int, logs: Logs = None) -> None:
            method(number, {name: value for name, value in (logs or {}).items() if not name.startswith(prefixes)})

        return call

    short.on_epoch_end = without(short.on_epoch_end)
    short.on_train_batch_end = without(short.on_train_batch_end)
    return short


def norms(groups: Sequence[frozenset[int]]) -> Measure:
    """A measure: norm of the update over norm of the weights, and norm of the gradient, `(len(MEASURES), groups)`.

    Both are 0 for a group that does not train in the step, and NaN if the step applies no gradients. If all weights are 0
    before the update, like the biases of a new layer, the ratio is 1.

    Args:
        groups: For each group the identities of its variables.
    """

    def measure(moves: Moves) -> Tensor:
        if not moves:
            return keras.ops.full((len(MEASURES), len(groups)), np.nan)
        trained = [[move for key, move in moves.items() if key in group] for group in groups]
        updates = [_norm([_float(move.after) - _float(move.before) for move in members]) for members in trained]
        before = [_norm([move.before for move in members]) for members in trained]
        after = [_norm([move.after for move in members]) for members in trained]
        gradients = [_norm([move.gradient for move in members if move.gradient is not None]) for members in trained]
        ratios = _ratio(*map(keras.ops.stack, (updates, before, after)))
        return keras.ops.stack([ratios, keras.ops.stack(gradients)])

    return measure


def _ratio(update: Tensor, before: Tensor, after: Tensor) -> Tensor:
    weights = keras.ops.where(before > 0, before, after)
    return keras.ops.where(weights > 0, update / keras.ops.where(weights > 0, weights, 1.0), 0.0)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    """The joint norm of several tensors; 0 for none."""
    squares = [keras.ops.sum(keras.ops.square(_float(tensor))) for tensor in tensors]
    return keras.ops.sqrt(sum(squares, keras.ops.zeros((), "float32")))


def _float(tensor: Tensor) -> Tensor:
    return keras.ops.cast(tensor, "float32")
