"""`PhaseScheduler`: walks through phases of freezing and unfreezing inside one `fit`."""

import warnings
from typing import Any

import keras

from difflr import keras_private, optimizers
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.replan import Trainable
from difflr.phases.phase import Phase, Phases
from difflr.phases.resolve import check_length, inner_optimizer, resolve
from difflr.plan.rule import describe


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
        if any(phase.steps or phase.monitor for phase in self.phases):
            # Keras runs callbacks beside the training, which is faster, unless one of them has this method.
            self.on_train_batch_end = self._after_batch

    # -- what Keras calls ---------------------------------------------------------------------------------------------

    def set_model(self, model: keras.Model) -> None:  # noqa: D102 - as in Keras
        super().set_model(model)
        optimizer = inner_optimizer(model.optimizer)
        if isinstance(optimizer, DifferentialOptimizer):
            optimizer.bind(model)
            if optimizer is not model.optimizer:
                keras_private.load_apart(model.optimizer)
        self._check_order()

    def _check_order(self) -> None:
        everybody = keras_private.callback_list()
        callbacks = everybody.callbacks if everybody is not None else []
        behind = callbacks[callbacks.index(self) + 1 :] if self in callbacks else []
        if any(isinstance(each, keras.callbacks.SwapEMAWeights) and each.swap_on_epoch for each in behind):
            raise ValueError(
                "`SwapEMAWeights(swap_on_epoch=True)` comes after `PhaseScheduler`, which would take the averages for the "
                "weights when a phase begins. Put it before: callbacks=[SwapEMAWeights(True), PhaseScheduler(...)]."
            )

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._check_optimizer()
        if not self.model.optimizer.built:  # on torch Keras builds it at the first step
            self.model.optimizer.build(self.model.trainable_variables)
        self._check_steps()
        resolve(self.phases, self._replanning.whole_plan(), self.model)
        self._first_epoch, self._in_epoch = True, False

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        # Here and not in `on_train_begin`: the number of the epoch is known, and whatever is restored was restored.
        if self._first_epoch:
            self._begin(epoch)
            self._first_epoch = False
        else:
            self._count_value(epoch)
        self._record.update(epoch=epoch, epoch_step=self._step(), value=None, finished=False)
        while self._is_over(epoch):
            self._enter(self._record["number"] + 1, epoch)
        self._wait_for_steps(-1)
        self._in_epoch = True

    def on_test_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        if self._in_epoch and self._phase.monitor and logs:
            self._note({f"val_{name}": value for name, value in logs.items()})

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._in_epoch = False
        if self._phase.monitor is None:
            return
        if self._record["value"] is None:
            raise ValueError(
                f"Phase {self._record['number'] + 1} waits for '{self._phase.monitor}', which epoch {epoch + 1} did not "
                f"give. Received: {', '.join(logs or {})}. Give `fit` `validation_data` (with `validation_freq=1`), or "
                "name another metric as `monitor`."
            )
        is_last = self._record["number"] == len(self.phases) - 1
        if is_last and self._waited(self._record["value"]) >= max(self._phase.patience, 1):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:  # noqa: D102 - as in Keras
        self._record["finished"] = True

    # -- where we are -------------------------------------------------------------------------------------------------

    @property
    def _optimizer(self) -> Any:
        return inner_optimizer(self.model.optimizer)

    @property
    def _replanning(self) -> Any:
        return self._optimizer._replanning

    @property
    def _record(self) -> dict[str, Any]:
        """What is saved with the optimizer: nothing that decides about phases is kept in the callback."""
        return self._replanning.record

    @property
    def _phase(self) -> Phase:
        phase: Phase = self.phases[self._record["number"]]
        return phase

    def _step(self) -> int:
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    def _begin(self, epoch: int) -> None:
        """Goes on where a run has stopped, or begins."""
        record = self._record
        saved = [_said(phase) for phase in self.phases]
        if record and self.resume and self._goes_on(epoch):
            number = record["number"]
            if record["phases"][: number + 1] != saved[: number + 1]:
                raise ValueError(
                    f"The run to be resumed is in phase {number + 1} of other phases: {record['phases'][: number + 1]}. "
                    f"Received: {saved}. Only phases that have not begun can be edited; "
                    "PhaseScheduler(phases, resume=False) begins with the first one."
                )
            self._check_length(record["began"])
            self._count_value(epoch)
            record["phases"] = saved
            self._build_step()
            return
        self._check_length(epoch)
        record.clear()
        record.update(phases=saved, began=epoch, finished=False)
        self._enter(0, epoch)

    def _goes_on(self, epoch: int) -> bool:
        """Whether this `fit` goes on from where the last one stopped."""
        last = self._record["epoch"]
        if self._record["finished"]:
            return epoch == last + 1
        if epoch in (last, last + 1):
            if epoch == last:
                self._tell_of_steps_done_twice(epoch)
            return True
        raise ValueError(
            f"The last run was interrupted in epoch {last + 1}, in phase {self._record['number'] + 1}, and this `fit` "
            f"begins with epoch {epoch + 1}. To go on, give `fit` initial_epoch={last}, which repeats it, or {last + 1}; "
            "to begin with the first phase, use PhaseScheduler(phases, resume=False)."
        )

    def _tell_of_steps_done_twice(self, epoch: int) -> None:
        more = self._step() - self._record.get("epoch_step", self._step())
        if more:
            warnings.warn(
                f"The state is that after {more} steps of epoch {epoch + 1}, which this `fit` begins anew: the run will not "
                "end as one without a break. Keras's BackupAndRestore brings this about if it saves within epochs, or if "
                "the process was killed while it saved; difflr.BackupAndRestore does not.",
                stacklevel=2,
            )

    def _enter(self, number: int, epoch: int) -> None:
        phase = self.phases[number]
        trainable = resolve(self.phases, self._replanning.whole_plan(), self.model)[number]
        statistics = phase.frozen_statistics or self._replanning.whole_plan().frozen_statistics
        self._replanning.go_live(
            self.model,
            Trainable(trainable.variables, f"phase {number + 1}", statistics, trainable.frozen_layers),
            phase.warmup_steps,
            phase.own_bias_correction is not False,
        )
        self._record.update(number=number, epoch=epoch, start_epoch=epoch, start_step=self._step())
        self._record.update(value=None, best=None, waited=0)
        self._build_step()
        if self.verbose:
            print(f"Phase {number + 1} of {len(self.phases)}, epoch {epoch + 1}: {phase.who}, until {phase.until}")

    def _build_step(self) -> None:
        """Lets Keras make its functions anew, for the variables that are trainable now."""
        keras_private.forget_step(self.model)
        self.model.make_train_function(force=True)

    # -- when a phase ends --------------------------------------------------------------------------------------------

    def _is_over(self, epoch: int) -> bool:
        """Whether the next phase begins with this epoch."""
        phase, record = self._phase, self._record
        if record["number"] == len(self.phases) - 1:
            return False
        if phase.steps is not None:
            return self._step() - record["start_step"] >= phase.steps
        if phase.epochs is not None and epoch - record["start_epoch"] >= phase.epochs:
            return True
        return phase.monitor is not None and record["waited"] >= max(phase.patience, 1)

    def _note(self, logs: dict[str, Any]) -> None:
        """Notes the value of the epoch so far: whoever saves at the end of an epoch saves it too, in any order."""
        if self._phase.monitor in logs:
            self._record["value"] = float(logs[self._phase.monitor])

    def _waited(self, value: float) -> int:
        """For how many epochs the metric has not improved, with this value."""
        return 0 if self._phase.is_better(value, self._record["best"]) else self._record["waited"] + 1

    def _count_value(self, epoch: int) -> None:
        """Counts the value of the epoch before this one; that of an epoch which is repeated does not count."""
        record = self._record
        if record["value"] is not None and record["epoch"] == epoch - 1:
            record["waited"] = self._waited(record["value"])
            if record["waited"] == 0:
                record["best"] = record["value"]

    def _wait_for_steps(self, batch: int) -> None:
        """Notes after which batch the phase can be over: to read the step there, JAX has to hand back its state."""
        self._look_at = None
        if self._phase.steps is not None:
            left = self._phase.steps - (self._step() - self._record["start_step"])
            self._look_at = batch + 1 + (left - 1) * (self._optimizer.gradient_accumulation_steps or 1)

    def _after_batch(self, batch: int, logs: Any = None) -> None:
        if self._phase.monitor:
            self._note(logs or {})
        if self._look_at is None or batch < self._look_at:
            return
        self._sync()
        while self._phase.steps is not None and self._step() - self._record["start_step"] >= self._phase.steps:
            if self._record["number"] == len(self.phases) - 1:
                self.model.stop_training = True
                return
            self._enter(self._record["number"] + 1, self._record["epoch"])
        self._wait_for_steps(batch)

    def _sync(self) -> None:
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()

    # -- checks -------------------------------------------------------------------------------------------------------

    def _check_optimizer(self) -> None:
        optimizer = inner_optimizer(self.model.optimizer)
        if isinstance(optimizer, DifferentialOptimizer):
            return
        name = type(optimizer).__name__
        ours = f"difflr.optimizers.{name}(...)" if hasattr(optimizers, name) else "one optimizer of difflr.optimizers"
        raise TypeError(
            "PhaseScheduler keeps the state of an optimizer while variables freeze and unfreeze, which needs one of difflr's. "
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


def _said(phase: Phase) -> str:
    """A phase as text: objects as targets too."""
    return f"{[t if isinstance(t, str) else describe(t) for t in phase.trainable]} until {phase.until}"
