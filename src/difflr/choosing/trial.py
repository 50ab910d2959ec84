"""`Trials`: trains candidates from the same weights, and compiles each profile once."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.choosing.candidate import Candidate
from difflr.choosing.examples import Examples
from difflr.choosing.scores import Labels, Scores, scores_by_loss
from difflr.choosing.setting import Setting
from difflr.choosing.snapshot import Snapshot
from difflr.fine_tuning.fine_tune import cycles
from difflr.optimizers.unwrap import parts
from difflr.phases.resolve import resolve
from difflr.plan import Plan
from difflr.plan.freezing import freeze


@dataclasses.dataclass
class Stage:
    """One phase of one profile, compiled.

    Args:
        plan: The plan in force.
        attributes: The attributes of the compiled model.
        state: The optimizer's variables and their initial values.
    """

    plan: Plan
    attributes: dict[str, Any]
    state: list[tuple[keras.Variable, np.ndarray]]


class Trials:
    """Trains candidates and scores them.

    Args:
        snapshot: The snapshot of the model, entered.
        setting: The optimizer and arguments that compile a trial.
        examples: The training data.
        judged: The data for the scores.
        head_steps: Integer, the steps of a trial in which only the head trains.
        steps: Integer, the steps with everything trainable.
        labels: How to score a classifier; `None` for other models.
        head: The targets of the head.
        class_weight: As in `fit`.
        seed: Integer, the seed of the order of the examples.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        setting: Setting,
        examples: Examples,
        judged: Examples,
        *,
        head_steps: int,
        steps: int,
        labels: Labels | None,
        head: list[str],
        class_weight: dict[int, float] | None = None,
        seed: int = 0,
    ):
        self._snapshot, self._setting, self._labels = snapshot, setting, labels
        self._examples, self._judged = examples, judged
        self._lengths = {True: [head_steps, steps], False: [head_steps + steps]}
        self._phases = {True: cycles(1, head_steps, steps, head=head), False: cycles(0, 0, head_steps + steps)}
        self._class_weight, self._seed = class_weight, seed
        self._stages: dict[tuple[str, int], Stage] = {}
        self._judging: dict[str, Any] | None = None
        self.train_steps = 0
        self.forward_batches = 0

    def run(self, candidate: Candidate, train: np.ndarray, held_out: np.ndarray) -> Scores:
        """Trains a candidate from the initial weights, and scores it.

        Args:
            candidate: The candidate.
            train: Integer array, the training examples.
            held_out: Integer array, the held-out examples.
        """
        self._snapshot.rewind()
        lengths = self._lengths[candidate.head_first]
        steps = self._examples.steps(train, sum(lengths), self._seed)
        begun = 0
        for number, length in enumerate(lengths):
            stage = self._enter(candidate, number)
            model = self._setting.model
            parts(model.optimizer)[0].learning_rate = candidate.learning_rate
            part = steps.part(begun, begun + length)
            model.fit(
                part, epochs=1, shuffle=False, verbose=0, callbacks=[self._count()], class_weight=self._class_weight
            )
            stage.attributes = dict(vars(model))
            begun += length
        return self._score(held_out)

    def _count(self) -> keras.callbacks.Callback:
        def one_more(batch: int, logs: object = None) -> None:
            self.train_steps += 1

        # Keras draws random numbers when it builds the step in the first `fit`.
        return keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: self._snapshot.seed(self._seed), on_train_batch_end=one_more
        )

    def _enter(self, candidate: Candidate, number: int) -> Stage:
        """Prepares the model for this phase of the candidate, with a fresh optimizer."""
        key, model = (candidate.profile, number), self._setting.model
        self._snapshot.put_back_flags()
        if key not in self._stages:
            phases = self._phases[candidate.head_first]
            plan = resolve(phases, candidate.plan, model)[number]
            self._begin(lambda: self._setting.compile(model, plan, candidate.learning_rate))
            with keras_private.strategy_scope(model):
                freeze(plan)
                model.optimizer.build(model.trainable_variables)
            state = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in model.optimizer.variables]
            self._stages[key] = Stage(plan, dict(vars(model)), state)
        stage = self._stages[key]
        vars(model).update(stage.attributes)
        freeze(stage.plan)
        for variable, value in stage.state:
            variable.assign(value)
        return stage

    def _begin(self, compile_it: Callable[[], None]) -> None:
        """Compiles with a new step function: JAX would reuse its trace of an equal one."""
        model = self._setting.model
        vars(model).pop("train_step", None)
        compile_it()
        step = model.train_step
        vars(model)["train_step"] = lambda *args: step(*args)

    def _score(self, held_out: np.ndarray) -> Scores:
        model, examples = self._setting.model, self._judged
        self._snapshot.put_back_flags()  # JAX's trace depends on the trainable variables
        if self._judging is None:
            self._begin(lambda: self._setting.compile(model, Plan(model), 1e-3))
            self._judging = dict(vars(model))
        vars(model).update(self._judging)
        self.forward_batches += -(-len(held_out) // examples.batch_size)
        if self._labels is None:
            scores = scores_by_loss(model, examples, held_out)
        else:
            outputs = model.predict(examples.at(held_out)[0], batch_size=examples.batch_size, verbose=0)
            scores = self._labels.scores(np.asarray(outputs), held_out)
        self._judging = dict(vars(model))
        return scores
