"""`GroupLogger`: the rate, the update and the gradient of every group, in Keras's logs."""

import math
from collections.abc import Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.callbacks.measured_step import MEASURES, MeasuredStep, accumulation, norms
from difflr.optimizers import DifferentialOptimizer, plan_of
from difflr.optimizers.unwrap import effective_rates, parts
from difflr.phases.phase_scheduler import PhaseScheduler
from difflr.phases.resolve import resolve
from difflr.plan import layer_tree
from difflr.plan.group_names import group_labels

RATE = "learning_rate"


class GroupLogger(keras.callbacks.Callback):
    """Puts the learning rate, the size of the update and of the gradient of every group of the plan into Keras's logs.

    History, `CSVLogger`, `TensorBoard` and whatever else reads logs then have, for each group:

    - `learning_rate/<group>`: its effective rate now;
    - `update_ratio/<group>`: the norm of one update over the norm of the weights before it (weight decay included);
    - `gradient_norm/<group>`: the norm of the gradient that the model gave the optimizer in that step: before
      clipping and accumulation, without the scale of the loss.

    Wherever it stands in the list of callbacks, the others see its logs; the progress bar leaves them out. The names of
    the groups are layer-tree paths, the same in all tables and pictures. What the plan freezes is left out. With
    `difflr.PhaseScheduler` the groups are divided further, so that each is trainable or frozen as a whole in every phase:
    the names are the same in all epochs, and a group that is frozen in a phase is logged as 0. With an optimizer that
    is none of difflr's there is one group, `all`.

    Args:
        freq: `"epoch"`, the default: the last batch but one of each epoch is measured (the last may be smaller), or the
            first where the number of batches is not known yet. Or a number of batches: every so many are measured; the
            logs of that batch have the values, those of the epoch the mean of updates and gradients.

    Raises:
        ValueError: If `freq` is neither; or, on `fit`, if there are two of them.

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

    Reference: the ratio of update and weights as of Karpathy, CS231n, "Ratio of weights:updates".
    """

    def __init__(self, freq: str | int = "epoch"):
        super().__init__()
        valid = freq == "epoch" or (isinstance(freq, int) and not isinstance(freq, bool) and freq >= 1)
        if not valid:
            raise ValueError(f"`freq` must be 'epoch' or a number of batches, 1 or more. Received: {freq!r}.")
        self.freq = freq
        self._groups: Any = None  # label -> identities of variables, from the first measured step of a `fit` on
        self._step: Any = None
        self._schedulers: list[PhaseScheduler] = []
        if freq != "epoch":
            # Keras runs callbacks beside the training, which is faster, unless one of them has this method.
            self.on_train_batch_end = self._after_batch

    # -- what Keras calls ---------------------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:  # noqa: D102 - as in Keras
        super().set_model(model)
        self._schedulers = []
        everybody = keras_private.callback_list()
        if everybody is None:
            return
        others = [each for each in everybody.callbacks if each is not self]
        if any(isinstance(each, GroupLogger) for each in others):
            raise ValueError("`callbacks` has two GroupLoggers, whose logs would have the same names. Take one out.")
        everybody.callbacks = [self, *others]  # a new list: Keras is walking along the old one
        self._schedulers = [each for each in others if isinstance(each, PhaseScheduler)]
        for each in others:
            if isinstance(each, keras.callbacks.ProgbarLogger):
                _leave_out(each)

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        if not self.model.optimizer.built:  # some backends build it in the first step
            with keras_private.strategy_scope(self.model):
                self.model.optimizer.build(self.model.trainable_variables)
        self._groups = None
        self._num_batches: int | None = self.params.get("steps")
        self._seen, self._next = 0, 0 if self.freq == "epoch" else int(self.freq)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._measured: list[list[list[float]]] = []
        self._batch, self._is_armed, self._is_over = 0, False, False
        self._applied = keras_private.applications(parts(self.model.optimizer)[0])
        self._target = self._target_of_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._batch = batch
        if self._is_due(batch):
            self._find_groups()
            self._step.arm()
            self._is_armed = True
        self._seen += self.model.steps_per_execution

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        if not self._is_armed:
            return
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self._note()
        logs.update(self._entries([self._measured[-1]]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._note()
        self._find_groups()
        self._num_batches = self._num_batches or self._batch + self.model.steps_per_execution
        logs.update(self._entries(self._measured))

    # -- when ---------------------------------------------------------------------------------------------------------

    def _is_due(self, batch: int) -> bool:
        """Whether the call of the model's step that begins with this batch is to be measured."""
        if self.freq == "epoch":
            due = self._target is None or batch >= self._target
            if not due or self._is_over or not self._changes_weights(batch):
                return False
            self._is_over = True
            return True
        if self._seen + self.model.steps_per_execution < self._next or not self._changes_weights(batch):
            return False
        self._next += int(self.freq)
        return True

    def _target_of_epoch(self) -> int | None:
        """Where the last call begins that changes the weights, without the last batch where that is possible."""
        number, each = self._num_batches, self.model.steps_per_execution
        if number is None:
            return None
        fitting = (batch for batch in reversed(range(0, number, each)) if self._changes_weights(batch))
        last = next(fitting, None)
        return next(fitting, last) if last is not None and last + each >= number else last

    def _changes_weights(self, batch: int) -> bool:
        """Whether the weights change at the end of the call that begins with this batch: gradients may be accumulated."""
        after = self._applied + batch + self.model.steps_per_execution
        return after % accumulation(self.model.optimizer) == 0

    # -- what ---------------------------------------------------------------------------------------------------------

    def _note(self) -> None:
        if self._is_armed:
            self._is_armed = False
            self._measured.append(self._step.take().tolist())

    def _entries(self, measured: Sequence[Sequence[Sequence[float]]]) -> dict[str, float]:
        """What goes into the logs: the rates now, and the means of what was measured."""
        rates = effective_rates(self.model.optimizer)
        entries = {}
        for number, (label, group) in enumerate(self._groups.items()):
            entries[f"{RATE}/{label}"] = next((rates[key] for key in group if key in rates), 0.0)
            for position, name in enumerate(MEASURES):
                entries[f"{name}/{label}"] = _mean([each[position][number] for each in measured])
        return entries

    def _find_groups(self) -> None:
        """Who belongs together, from the plan of the optimizer: once a `fit`, when it is certainly built."""
        if self._groups is not None:
            return
        paths = {id(leaf.variable): leaf.path for leaf in layer_tree.walk(self.model) if leaf.variable is not None}
        members: dict[Any, list[int]] = {}
        for number, part in enumerate(parts(self.model.optimizer)):
            if not isinstance(part, DifferentialOptimizer):
                members[number] = [id(variable) for variable in keras_private.trained(part)]
                continue
            plan = plan_of(self.model, part).whole
            trainable = self._live_sets(part, plan)
            for row in plan.rows:
                key = id(row.variable)
                if not row.frozen:
                    members.setdefault((number, row.setting, *(key in each for each in trainable)), []).append(key)
                    paths.setdefault(key, row.path)
        groups = [frozenset(group) for group in members.values() if group]
        labels = group_labels([[paths[key] for key in group] for group in members.values() if group], paths.values())
        self._groups = dict(zip(labels, groups, strict=True))
        self._step = MeasuredStep(self.model, norms(self.model, groups))

    def _live_sets(self, optimizer: DifferentialOptimizer, plan: Any) -> list[frozenset[int]]:
        """Who is trainable in each phase of this `fit`."""
        if self._schedulers:
            return [each.variables for s in self._schedulers for each in resolve(s.phases, plan, self.model)]
        now = optimizer.plan
        return [] if now.whole is now else [frozenset(id(row.variable) for row in now.rows if not row.frozen)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _leave_out(progress_bar: keras.callbacks.ProgbarLogger) -> None:
    """Keeps our entries, several for each group, out of the one line that a progress bar has."""
    prefixes = tuple(f"{name}/" for name in (RATE, *MEASURES))

    def without(method: Any) -> Any:
        def call(number: int, logs: Any = None) -> None:
            method(number, {name: value for name, value in (logs or {}).items() if not name.startswith(prefixes)})

        return call

    progress_bar.on_epoch_end = without(progress_bar.on_epoch_end)
    progress_bar.on_train_batch_end = without(progress_bar.on_train_batch_end)
