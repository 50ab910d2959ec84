"""`PhaseScheduler`: walks through phases of freezing and unfreezing inside one `fit`."""

import dataclasses
import warnings
from typing import Any

import keras

from difflr import keras_private, optimizers
from difflr.optimizers import DifferentialOptimizer, plan_of, replan
from difflr.optimizers.unwrap import inner
from difflr.phases.phase import Phase
from difflr.phases.phases import Phases
from difflr.phases.progress import Progress
from difflr.phases.resolve import check_length, plan_in_phase, resolve

_STATE = "PhaseScheduler"  # the name of what is saved with the optimizer


class PhaseScheduler(keras.callbacks.Callback):
    """Freezes and unfreezes inside one `fit`, phase after phase.

    When a phase begins, the training step is built anew: what is frozen then has no gradient, no optimizer state and no
    part in a clip norm, on every backend. The state of every variable that has been trainable is kept, and so are the step
    and the learning rate of the optimizer. Everything is saved with the optimizer, so that `BackupAndRestore`,
    `ModelCheckpoint` and `load_model` resume in the middle of a phase as if there had been no break; the order of the
    callbacks does not matter.

    A `fit` that goes on from the epoch where the last one stopped (`initial_epoch`) goes on in its phase. One that
    begins elsewhere after a run that has ended begins with the first phase again.

    Args:
        phases: A `difflr.Phases`, or a list of `difflr.Phase`.
        resume: Boolean. Whether to go on in the phase of an interrupted run; `False` begins with the first phase.
        verbose: 0 or 1. Whether to print the beginning of each phase.

    Raises:
        TypeError: On `fit`, if the optimizer is none of difflr's.
        ValueError: On `fit`, before the first step, if the phases do not fit the model, its plan or the number of
            epochs, or an interrupted run cannot be taken up in this epoch.

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
        self._in_epoch = False
        self._next_look = None
        if any(phase.steps or phase.monitor for phase in self.phases):
            # Keras runs callbacks beside the training, which is faster, unless one of them has this method.
            self.on_train_batch_end = self._after_batch

    # -- what Keras calls ---------------------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:  # noqa: D102 - as in Keras
        super().set_model(model)
        optimizer = inner(model.optimizer)
        if isinstance(optimizer, DifferentialOptimizer):
            optimizer.bind(model)
            optimizer.continues_phases = self.resume
            if optimizer is not model.optimizer:
                keras_private.load_apart(model.optimizer)
        self._check_order()

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._check_optimizer()
        if not self.model.optimizer.built:  # on torch Keras builds it at the first step
            self.model.optimizer.build(self.model.trainable_variables)
        self._check_steps()
        resolve(self.phases, plan_of(self.model).whole, self.model)
        if getattr(self.model, "history", None) is not None:  # a loop without `fit` has none
            self.model.history.phases = self.phases  # for `difflr.write_report`
        self._first_epoch, self._in_epoch = True, False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        # Here and not in `on_train_begin`: the number of the epoch is known, and whatever is restored was restored.
        if self._first_epoch:
            self._begin(epoch)
            self._first_epoch = False
        else:
            self._count_value(epoch)
        self._note(epoch=epoch, epoch_step=self._step(), value=None, finished=False)
        while self._is_over(epoch):
            self._enter(self._progress.number + 1, epoch)
        self._wait_for_steps(-1)
        self._in_epoch = True

    def on_test_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        if self._in_epoch and self._phase.monitor and logs:
            self._note_value({f"val_{name}": value for name, value in logs.items()})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._in_epoch = False
        phase, progress = self._phase, self._progress
        if logs is not None:
            logs["phase"] = progress.number + 1
        if phase.monitor is None:
            return
        if progress.value is None:
            raise ValueError(
                f"Phase {progress.number + 1} waits for '{phase.monitor}', which epoch {epoch + 1} did not give. "
                f"Received: {', '.join(logs or {})}. Give `fit` `validation_data` (with `validation_freq=1`), or "
                "name another metric as `monitor`."
            )
        is_last = progress.number == len(self.phases) - 1
        if is_last and self._waited(progress.value) >= max(phase.patience, 1):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._note(finished=True)

    # -- where we are -------------------------------------------------------------------------------------------------

    @property
    def _optimizer(self) -> Any:
        return inner(self.model.optimizer)

    @property
    def _progress(self) -> Progress:
        """How far the training has come: kept with the optimizer, which is saved, and not in the callback."""
        return Progress.from_dict(self._optimizer.callback_state[_STATE])

    def _note(self, **changes: Any) -> None:
        self._optimizer.callback_state[_STATE] = dataclasses.replace(self._progress, **changes).to_dict()

    @property
    def _phase(self) -> Phase:
        phase: Phase = self.phases[self._progress.number]
        return phase

    def _step(self) -> int:
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    def _begin(self, epoch: int) -> None:
        """Goes on where a run has stopped, or begins."""
        phases = tuple(f"{phase.who} until {phase.until}" for phase in self.phases)
        if _STATE in self._optimizer.callback_state and self.resume and self._goes_on(epoch):
            progress = self._progress
            begun = progress.number + 1
            if progress.phases[:begun] != phases[:begun]:
                raise ValueError(
                    f"The run to be resumed is in phase {begun} of other phases: {list(progress.phases[:begun])}. "
                    f"Received: {list(phases)}. Only phases that have not begun can be edited; "
                    "PhaseScheduler(phases, resume=False) begins with the first one."
                )
            self._check_length(progress.began)
            self._count_value(epoch)
            self._note(phases=phases)
            keras_private.renew_step(self.model)
            return
        self._check_length(epoch)
        self._optimizer.callback_state[_STATE] = Progress(phases, began=epoch).to_dict()
        self._enter(0, epoch)

    def _goes_on(self, epoch: int) -> bool:
        """Whether this `fit` goes on from where the last one stopped."""
        progress = self._progress
        last = progress.epoch
        if progress.finished:
            return epoch == last + 1
        if epoch in (last, last + 1):
            if epoch == last:
                self._warn_of_steps_made_twice(epoch, self._step() - progress.epoch_step)
            return True
        raise ValueError(
            f"The last run was interrupted in epoch {last + 1}, in phase {progress.number + 1}, and this `fit` "
            f"begins with epoch {epoch + 1}. To go on, give `fit` initial_epoch={last}, which repeats it, or {last + 1}; "
            "to begin with the first phase, use PhaseScheduler(phases, resume=False)."
        )

    def _warn_of_steps_made_twice(self, epoch: int, steps: int) -> None:
        if steps:
            warnings.warn(
                f"The state is that after {steps} steps of epoch {epoch + 1}, which this `fit` begins again: the run will "
                "not end as one without a break. Keras's BackupAndRestore brings this about if it saves within epochs, or "
                "if the process was killed while it saved; difflr.BackupAndRestore does not.",
                stacklevel=2,
            )

    def _enter(self, number: int, epoch: int) -> None:
        phase, step = self.phases[number], self._step()
        replan(
            self.model,
            plan_in_phase(self.phases, number, plan_of(self.model), step, self.model),
            warmup_steps=phase.warmup_steps,
            own_bias_correction=phase.own_bias_correction is not False,
        )
        self._note(number=number, epoch=epoch, start_epoch=epoch, start_step=step, value=None, best=None, waited=0)
        if self.verbose:
            print(f"Phase {number + 1} of {len(self.phases)}, epoch {epoch + 1}: {phase.who}, until {phase.until}")

    # -- when a phase ends --------------------------------------------------------------------------------------------

    def _is_over(self, epoch: int) -> bool:
        """Whether the next phase begins with this epoch."""
        phase, progress = self._phase, self._progress
        if progress.number == len(self.phases) - 1:
            return False
        if phase.steps is not None:
            return self._step() - progress.start_step >= phase.steps
        if phase.epochs is not None and epoch - progress.start_epoch >= phase.epochs:
            return True
        return phase.monitor is not None and progress.waited >= max(phase.patience, 1)

    def _note_value(self, logs: dict[str, Any]) -> None:
        """Notes the value of the epoch so far: whoever saves at the end of an epoch saves it too, in any order."""
        if self._phase.monitor in logs:
            self._note(value=float(logs[self._phase.monitor]))

    def _waited(self, value: float) -> int:
        """For how many epochs the metric has not improved, with this value."""
        progress = self._progress
        return 0 if self._phase.is_better(value, progress.best) else progress.waited + 1

    def _count_value(self, epoch: int) -> None:
        """Counts the value of the epoch before this one; that of an epoch which is repeated does not count."""
        progress = self._progress
        if progress.value is not None and progress.epoch == epoch - 1:
            waited = self._waited(progress.value)
            self._note(waited=waited, best=progress.best if waited else progress.value)

    def _wait_for_steps(self, batch: int) -> None:
        """Notes after which batch the phase can be over: to read the step there, JAX has to hand back its state."""
        self._next_look = None
        if self._phase.steps is not None:
            left = self._phase.steps - (self._step() - self._progress.start_step)
            self._next_look = batch + 1 + (left - 1) * (self._optimizer.gradient_accumulation_steps or 1)

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        if self._phase.monitor:
            self._note_value(logs or {})
        if self._next_look is None or batch < self._next_look:
            return
        keras_private.sync_state(self.model)
        while self._phase.steps is not None and self._step() - self._progress.start_step >= self._phase.steps:
            if self._progress.number == len(self.phases) - 1:
                self.model.stop_training = True
                return
            self._enter(self._progress.number + 1, self._progress.epoch)
        self._wait_for_steps(batch)

    # -- checks -------------------------------------------------------------------------------------------------------

    def _check_optimizer(self) -> None:
        optimizer = inner(self.model.optimizer)
        if isinstance(optimizer, DifferentialOptimizer):
            return
        name = type(optimizer).__name__
        ours = f"difflr.optimizers.{name}(...)" if hasattr(optimizers, name) else "one optimizer of difflr.optimizers"
        raise TypeError(
            "PhaseScheduler keeps the state of an optimizer over all phases, which needs one of difflr's. "
            f"Received: {name}. Compile with {ours}, or use difflr.Model."
        )

    def _check_steps(self) -> None:
        optimizer, each = self._optimizer, self.model.steps_per_execution
        for number, phase in enumerate(self.phases, start=1):
            batches = (phase.steps or 0) * (optimizer.gradient_accumulation_steps or 1)
            if batches % each:
                raise ValueError(
                    f"Phase {number} ends after {phase.steps} steps ({batches} batches), and `compile` was given "
                    f"steps_per_execution={each}: it can end after multiples of {each} batches only."
                )
            if phase.own_bias_correction and keras_private.bias_correction(optimizer) is None:
                raise ValueError(
                    f"Phase {number} has own_bias_correction=True, which is defined for Adam, AdamW and Adamax. Received: "
                    f"{type(optimizer).__name__}. Leave it out, or use `warmup_steps`."
                )

    def _check_length(self, first: int) -> None:
        steps = self.params.get("steps")
        accumulated = self._optimizer.gradient_accumulation_steps or 1
        check_length(self.phases, first, self.params["epochs"], steps / accumulated if steps else None)

    def _check_order(self) -> None:
        everybody = keras_private.callback_list()
        callbacks = everybody.callbacks if everybody is not None else []
        behind = callbacks[callbacks.index(self) + 1 :] if self in callbacks else []
        if any(isinstance(each, keras.callbacks.SwapEMAWeights) and each.swap_on_epoch for each in behind):
            raise ValueError(
                "`SwapEMAWeights(swap_on_epoch=True)` comes after `PhaseScheduler`, which would take the averages for the "
                "weights when a phase begins. Put it before: callbacks=[SwapEMAWeights(True), PhaseScheduler(...)]."
            )
