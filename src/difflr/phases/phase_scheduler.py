"""`PhaseScheduler`: runs the phases of a training inside one `fit`."""

import dataclasses
import json
import warnings
from typing import Any

import keras
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.checks import did_you_mean
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.replan import ready_optimizer
from difflr.optimizers.unwrap import base_rate, inner
from difflr.phases import fit_checks
from difflr.phases.best_weights import keep_best, restore_best
from difflr.phases.phase import BY_HAND, Phase
from difflr.phases.phases import Phases
from difflr.phases.progress import Progress
from difflr.phases.resolve import check_length, resolve
from difflr.plan import Plan
from difflr.plan.rebinding import with_own_schedules_from

_STATE = "PhaseScheduler"  # the name of what is saved with the optimizer


class PhaseScheduler(keras.callbacks.Callback):
    """Runs phases inside one `fit`.

    The training step is rebuilt when a phase begins: frozen variables have no gradient, no optimizer state on the
    device and no part in a clip norm. The optimizer keeps its state by variable, its step, and its learning rate unless
    the phase sets one. All of it is saved with the optimizer: `BackupAndRestore`, `ModelCheckpoint` and `load_model`
    resume in the middle of a phase as if never interrupted, whatever the order of callbacks.

    A `fit` that starts at the epoch where the last `fit` stopped (`initial_epoch`) continues the phase. After a completed
    run, a `fit` that starts at another epoch begins with the first phase, unless a phase ends by `next_phase()`.

    The logs of each epoch contain the number of the phase, from 1, as `phase`, for all callbacks in any order. Callbacks
    with the methods `on_phase_begin(phase, logs)` and `on_phase_end(phase, logs)` are called with that number and the
    metrics of the previous epoch.

    Args:
        phases: A `difflr.Phases`, or a list of `difflr.Phase`.
        resume: Boolean. Whether to continue an interrupted run; `False` begins with the first phase.
        verbose: 0 or 1. Whether to print a line when a phase begins.

    Raises:
        TypeError: On `fit`, if the optimizer is not a difflr optimizer.
        ValueError: On `fit`, before the first step, if the phases do not fit the model, its plan or the number of
            epochs, or an interrupted run cannot be resumed at this epoch.

    Example:

    ```python
    import keras
    import numpy as np
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(difflr.optimizers.Adam(1e-3), loss="mse")
    phases = difflr.Phases([difflr.Phase(trainable="head", epochs=1), difflr.Phase(trainable="*")])
    x, y = np.ones((8, 4)), np.ones((8, 2))
    model.fit(x, y, epochs=3, callbacks=[difflr.PhaseScheduler(phases)], verbose=0)
    ```

    Reference: finetuning-scheduler (phases, epochs or plateau as the transition); Howard and Ruder, "Universal Language
    Model Fine-tuning for Text Classification", 2018 (gradual unfreezing).
    """

    def __init__(self, phases: Any, resume: bool = True, verbose: int = 0):
        super().__init__()
        self.phases = phases if isinstance(phases, Phases) else Phases(phases)
        self.resume = resume
        self.verbose = verbose
        self._first_epoch = True
        self._in_epoch = self._between_batches = False
        self._batch = -1
        self._next_look: int | None = None
        self._watched: Any = None
        self._optimizer: Any = None
        self._neighbors: keras.callbacks.CallbackList | None = None
        self._plans: list[Plan] = []
        self._saved: Any = None  # the progress as data, which is saved with the optimizer; and the same, checked
        self._checked = Progress(())
        if any(phase.steps or phase.is_open for phase in self.phases):
            # Keras runs callbacks asynchronously, which is faster, unless one has this method.
            self.on_train_batch_end = self._after_batch

    @property
    def phase(self) -> int:
        """The number of the running phase, from 1; 0 before the first one began."""
        begun = _STATE in getattr(self._optimizer, "callback_state", {})
        return self._progress.number + 1 if begun else 0

    def entries(self) -> dict[str, float]:
        """The entries for the logs of an epoch: the phase, and the base rate if phases set it."""
        if all(phase.learning_rate is None for phase in self.phases):
            return {"phase": self.phase}
        return {"phase": self.phase, "learning_rate": base_rate(self._optimizer)}

    def next_phase(self) -> None:
        """Ends the running phase.

        Called between two batches (`on_train_batch_end`), the next phase begins before the next step; elsewhere in a
        callback, with the next epoch; between two calls of `fit`, with the next one.

        Raises:
            ValueError: If no phase has begun, or the last one has.
        """
        if not self.phase:
            raise ValueError("No phase has begun: call `next_phase()` in a callback during `fit`, or after it.")
        if self.phase == len(self.phases):
            raise ValueError(f"Phase {self.phase} is the last: there is no next one.")
        self._note(over=True)
        if self._between_batches:
            keras_private.sync_state(self.model)
            self._enter(self._progress.number + 1, self._progress.epoch)
            self._wait_for_steps(self._batch)

    # -- what Keras calls ---------------------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:  # noqa: D102 - as in Keras
        super().set_model(model)
        self._watched = model  # on JAX each access to `self.model` syncs the state back, after every batch
        self._optimizer = optimizer = inner(model.optimizer)
        if isinstance(optimizer, DifferentialOptimizer):
            optimizer.bind(model)
            optimizer.continues_phases = self.resume
        self._neighbors = keras_private.callback_list()
        if self._neighbors is not None:
            fit_checks.check_order(self, self._neighbors.callbacks)
            # A new list: Keras is iterating over the old one.
            self._neighbors.callbacks = [_PhaseInLogs(self), *self._neighbors.callbacks]

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        ready_optimizer(self.model, "PhaseScheduler")  # on torch Keras builds it at the first step
        fit_checks.check_phases(self.phases, self._optimizer, self.model.steps_per_execution, self.params.get("steps"))
        self._plans = []
        self._plan(0)
        if getattr(self.model, "history", None) is not None:  # a loop without `fit` has none
            self.model.history.phases = self.phases  # for `difflr.write_report`
        self._first_epoch, self._in_epoch = True, False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        # Not in `on_train_begin`: here the epoch is known, and callbacks have restored their checkpoints.
        if self._first_epoch:
            self._begin(epoch)
            self._first_epoch = False
        else:
            self._count(epoch)
        self._note(epoch=epoch, epoch_step=self._step(), logs={}, finished=False)
        while self._progress.number < len(self.phases) - 1 and self._has_ended(epoch):
            self._enter(self._progress.number + 1, epoch)
        self._wait_for_steps(-1)
        self._in_epoch = self._between_batches = True

    def on_test_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._between_batches = False

    def on_test_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        if self._in_epoch and self._phase.is_open and logs:
            self._note_logs({f"val_{name}": value for name, value in logs.items()})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._in_epoch = self._between_batches = False
        phase, progress = self._phase, self._progress
        if logs is not None:
            logs.update(self.entries())
        if phase.monitor is not None and phase.monitor not in progress.logs:
            hint = did_you_mean(phase.monitor, progress.logs)
            raise ValueError(
                f"Phase {progress.number + 1} monitors '{phase.monitor}', which epoch {epoch + 1} did not report. "
                f"Received: {', '.join(logs or {})}.{hint} Give `fit` `validation_data` (with `validation_freq=1`), or "
                "set `monitor` to another metric."
            )
        if progress.number == len(self.phases) - 1:
            self._count(epoch + 1)
            if self._has_ended(epoch + 1):
                self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._between_batches = False
        self._note(finished=True)
        if self._progress.number == len(self.phases) - 1:
            self._leave()
            if self._phase.restore_best and self._optimizer.use_ema:  # as Keras does, which came before this callback
                self._optimizer.finalize_variable_values(self.model.trainable_variables)
        elif self._phase.until != BY_HAND:
            warnings.warn(fit_checks.unfinished(self.phases, self._progress, self.model.stop_training), stacklevel=2)

    # -- where we are -------------------------------------------------------------------------------------------------

    @property
    def _batches_per_step(self) -> int:
        return self._optimizer.gradient_accumulation_steps or 1

    @property
    def _progress(self) -> Progress:
        """The progress, kept with the optimizer, which is saved."""
        saved = self._optimizer.callback_state[_STATE]
        if saved is not self._saved:  # another checkpoint was loaded
            self._saved, self._checked = saved, Progress.from_dict(saved)
        return self._checked

    @_progress.setter
    def _progress(self, progress: Progress) -> None:
        self._saved, self._checked = dataclasses.asdict(progress), progress
        self._optimizer.callback_state[_STATE] = self._saved

    def _note(self, **changes: Any) -> None:
        self._progress = dataclasses.replace(self._progress, **changes)

    @property
    def _phase(self) -> Phase:
        phase: Phase = self.phases[self._progress.number]
        return phase

    def _step(self) -> int:
        keras_private.sync_state(self._watched)
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    def _plan(self, number: int) -> Plan:
        """The plan of a phase; all are resolved and checked again when the model's plan changed."""
        whole = self._optimizer.whole_plan()
        if not self._plans or self._plans[0].whole is not whole:
            self._plans = resolve(self.phases, whole, self.model, self._optimizer.first_rate)
            for plan in self._plans:
                self._optimizer.check_plan(plan)
        return self._plans[number]

    def _begin(self, epoch: int) -> None:
        """Resumes a run, or begins one."""
        plan_of(self.model)  # which binds a loaded plan to the model
        phases = tuple(phase.text for phase in self.phases)
        if _STATE in self._optimizer.callback_state and self.resume and self._goes_on(epoch):
            progress = self._progress
            saved = fit_checks.check_resumed(progress, phases)
            if not progress.over:
                self._check_length(progress.start_epoch, progress.number)
            self._count(epoch)
            self._note(phases=phases)
            if phases[progress.number] != progress.phases[progress.number]:
                self._change(saved)
            keras_private.renew_step(self.model)
            return
        self._check_length(epoch)
        self._progress = Progress(phases)
        self._enter(0, epoch)

    def _goes_on(self, epoch: int) -> bool:
        """Whether this `fit` continues the last one."""
        progress = self._progress
        last = progress.epoch
        if progress.finished:
            if epoch != last + 1 and (progress.over or any(phase.until == BY_HAND for phase in self.phases)):
                self._note(start_epoch=epoch)  # another `fit`, which counts its own epochs
                return True
            return epoch == last + 1
        if epoch in (last, last + 1):
            if epoch == last:
                fit_checks.warn_of_steps_made_twice(epoch, self._step() - progress.epoch_step)
            return True
        raise ValueError(
            f"The last run was interrupted in epoch {last + 1}, in phase {progress.number + 1}, and this `fit` "
            f"starts at epoch {epoch + 1}. To resume, give `fit` initial_epoch={last}, which repeats that epoch, or "
            f"{last + 1}; to begin with the first phase, use PhaseScheduler(phases, resume=False)."
        )

    def _enter(self, number: int, epoch: int) -> None:
        if number:
            self._leave()
        phase, step = self.phases[number], self._step()
        plan = self._put_in_force(number, step)
        if phase.learning_rate is not None:
            self._optimizer.learning_rate = phase.learning_rate
        trained = [row.variable for row in plan.rows if not row.frozen] if phase.warmup_steps else []
        starts = map(self._optimizer.late_start, trained)
        if self.params.get("steps") and any(start.warmup_steps and start.joined_at == step for start in starts):
            steps = (self.params["epochs"] - epoch) * self.params["steps"] / self._batches_per_step
            fit_checks.warn_of_warmup(number + 1, phase, steps)
        if plan.has_schedules or isinstance(self._optimizer.first_rate, LearningRateSchedule):
            batches = self._num_batches(phase, epoch)
            fit_checks.warn_of_rates_over(number + 1, self._optimizer, step, batches, self._batches_per_step)
        ahead = {"number": number, "epoch": epoch, "start_epoch": epoch, "start_step": step, "over": False}
        self._note(**ahead, best=None, waited=0)
        if self.verbose:
            print(f"Phase {number + 1} of {len(self.phases)}, epoch {epoch + 1}: {phase.who}, until {phase.ends}")
        self._call("on_phase_begin")

    def _num_batches(self, phase: Phase, epoch: int) -> int:
        """The most batches that a phase can last which begins in an epoch, as far as known."""
        if phase.steps is not None:
            return phase.steps * self._batches_per_step
        epochs = self.params["epochs"] - epoch
        return min(epochs, phase.epochs or epochs) * (self.params.get("steps") or 1000)

    def _put_in_force(self, number: int, step: int) -> Plan:
        """Switches the model to the plan of a phase, whose own schedules count from a step."""
        phase, plan = self.phases[number], self._plan(number)
        if plan.has_schedules:
            plan = with_own_schedules_from(plan, step)
        keras_private.sync_state(self._watched)
        self._optimizer.switch_to(plan, phase.warmup_steps, phase.own_bias_correction is not False)
        keras_private.renew_step(self._watched)
        return plan

    def _change(self, before: dict[str, Any]) -> None:
        """Applies the edits of a phase that has already begun."""
        phase, progress = self._phase, self._progress
        now = json.loads(phase.text)
        same_schedule = all(now.get(name) == before.get(name) for name in ("schedule", "multipliers"))
        self._put_in_force(progress.number, progress.start_step if same_schedule else self._step())
        if phase.learning_rate not in (None, before.get("learning_rate")):
            self._optimizer.learning_rate = phase.learning_rate
        if any(now.get(name) != before.get(name) for name in ("monitor", "mode")):
            self._note(best=None, waited=0)

    def _leave(self) -> None:
        """Ends the running phase."""
        if self._phase.restore_best:
            restore_best(self.model, self._optimizer)
        self._call("on_phase_end")

    def _call(self, event: str) -> None:
        """Calls the methods of callbacks for an event."""
        progress = self._progress
        for callback in self._neighbors.callbacks if self._neighbors is not None else [self]:
            if hasattr(callback, event):
                getattr(callback, event)(progress.number + 1, dict(progress.logs))

    # -- when a phase ends --------------------------------------------------------------------------------------------

    def _has_ended(self, epoch: int) -> bool:
        """Whether the running phase does not train in this epoch any more."""
        phase, progress = self._phase, self._progress
        if progress.over:
            return True
        if phase.steps is not None:
            return self._step() - progress.start_step >= phase.steps
        if phase.epochs is not None and epoch - progress.start_epoch >= phase.epochs:
            return True
        return phase.longest_wait is not None and progress.waited >= phase.longest_wait

    def _note_logs(self, logs: dict[str, Any]) -> None:
        """Records the metrics of the epoch so far, so that checkpoints at the end of an epoch contain them, in any order."""
        self._note(logs=self._progress.logs | {name: float(value) for name, value in logs.items()})

    def _count(self, epoch: int) -> None:
        """Counts the metrics of the previous epoch, unless that epoch is repeated."""
        phase, progress = self._phase, self._progress
        if not progress.logs or progress.epoch != epoch - 1:
            return
        if phase.restore_best and progress.is_better(phase):
            keep_best(self.model, self._optimizer)
        self._progress = progress.counted(phase)

    def _wait_for_steps(self, batch: int) -> None:
        """Records the first batch at which the phase can end: only there does JAX sync its state."""
        self._batch, self._next_look = batch, None
        if self._phase.steps is not None:
            left = self._phase.steps - (self._step() - self._progress.start_step)
            self._next_look = batch + 1 + (left - 1) * self._batches_per_step

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        self._batch = batch
        if self._phase.is_open:
            self._note_logs(logs or {})
        if self._next_look is None or batch < self._next_look:
            return
        while self._phase.steps is not None and self._step() - self._progress.start_step >= self._phase.steps:
            if self._progress.number == len(self.phases) - 1:
                self.model.stop_training = True
                return
            self._enter(self._progress.number + 1, self._progress.epoch)
        self._wait_for_steps(batch)

    def _check_length(self, first: int, number: int = 0) -> None:
        steps = self.params.get("steps")
        per_epoch = steps / self._batches_per_step if steps else None
        check_length(self.phases, first, self.params["epochs"], per_epoch, number)


class _PhaseInLogs(keras.callbacks.Callback):
    """Puts the phase into the logs before any other callback sees them.

    Args:
        scheduler: The scheduler.
    """

    def __init__(self, scheduler: PhaseScheduler):
        super().__init__()
        self._scheduler = scheduler

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if logs is not None:
            logs.update(self._scheduler.entries())
