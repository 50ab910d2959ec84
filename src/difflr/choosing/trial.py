"""`Trials`: trains candidates from the same weights, and compiles each profile once."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.choosing.candidate import Candidate
from difflr.choosing.examples import Examples
from difflr.choosing.layout import MOST_HELD_OUT, Layout, divided
from difflr.choosing.scores import Labels, Scores, scores_by_loss
from difflr.choosing.setting import Setting
from difflr.choosing.stages import cycles
from difflr.optimizers.unwrap import parts
from difflr.phases.resolve import resolve
from difflr.plan import Plan
from difflr.plan.freezing import freeze
from difflr.verification.snapshot import Snapshot, Values, assign, values_of


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
    state: Values


@dataclasses.dataclass
class Trials:
    """Trains candidates and scores them.

    Args:
        snapshot: The snapshot of the model, entered.
        setting: The optimizer and arguments that compile a trial.
        examples: The training data.
        validation: The data for the scores; `None` for a part of the training data.
        layout: The lengths of trials.
        labels: How to score a classifier; `None` for other models.
        head: The targets of the head.
        class_weight: As in `fit`.
        seed: Integer, the seed of the order of the examples.
    """

    snapshot: Snapshot
    setting: Setting
    examples: Examples
    validation: Examples | None
    layout: Layout
    labels: Labels | None
    head: Sequence[str]
    class_weight: dict[int, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._stages: dict[tuple[str, int], Stage] = {}
        self._judging: dict[str, Any] | None = None
        self.train_steps = 0
        self.forward_batches = 0

    def parts(self, part: int) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the examples to train on, and of those to score on.

        Args:
            part: Integer, the number of the held-out part.
        """
        if self.validation is not None:
            held_out = np.random.default_rng(self.seed).permutation(len(self.validation))[:MOST_HELD_OUT]
            return np.arange(len(self.examples)), np.sort(held_out)
        labels = None if self.labels is None else self.labels.numbers
        numbers = divided(labels, len(self.examples), self.layout.parts, self.seed)
        return np.flatnonzero(numbers != part), np.flatnonzero(numbers == part)[:MOST_HELD_OUT]

    def run(self, candidate: Candidate, train: np.ndarray, held_out: np.ndarray) -> Scores:
        """Trains a candidate from the initial weights, and scores it.

        Args:
            candidate: The candidate.
            train: Integer array, the training examples.
            held_out: Integer array, the held-out examples.
        """
        self.snapshot.rewind()
        model, lengths = self.setting.model, self._lengths(candidate)
        steps = self.examples.steps(train, sum(lengths), self.seed)
        for number, length in enumerate(lengths):
            stage = self.enter(candidate, number)
            parts(model.optimizer)[0].learning_rate = candidate.learning_rate
            begun = sum(lengths[:number])
            model.fit(
                steps.part(begun, begun + length),
                epochs=1,
                shuffle=False,
                verbose=0,
                # Keras draws random numbers when it builds the step in the first `fit`.
                callbacks=[keras.callbacks.LambdaCallback(on_train_begin=lambda logs: self.snapshot.seed(self.seed))],
                class_weight=self.class_weight,
            )
            stage.attributes = dict(vars(model))
        self.train_steps += sum(lengths)
        return self._score(held_out)

    def _lengths(self, candidate: Candidate) -> list[int]:
        """The steps of each stage."""
        layout = self.layout
        both = bool(layout.head_steps) and candidate.head_first
        return [layout.head_steps, layout.steps] if both else [layout.head_steps + layout.steps]

    def enter(self, candidate: Candidate, number: int) -> Stage:
        """Prepares the model for a stage of a candidate, with a fresh optimizer.

        Args:
            candidate: The candidate.
            number: The number of the stage.
        """
        key, model = (candidate.profile, number), self.setting.model
        self.snapshot.put_back_flags()
        if key not in self._stages:
            *alone, steps = self._lengths(candidate)
            phases = cycles(len(alone), sum(alone), steps, head=self.head)
            plan = resolve(phases, candidate.plan, model)[number]
            self._compile(plan, candidate.learning_rate)
            with keras_private.strategy_scope(model):
                freeze(plan)
                model.optimizer.build(model.trainable_variables)
            self._stages[key] = Stage(plan, dict(vars(model)), values_of(model.optimizer.variables))
        stage = self._stages[key]
        vars(model).update(stage.attributes)
        freeze(stage.plan)
        assign(stage.state)
        return stage

    def _compile(self, plan: Plan, learning_rate: float) -> None:
        """Compiles with a new step function: JAX would reuse its trace of an equal one."""
        model = self.setting.model
        vars(model).pop("train_step", None)
        self.setting.compile(plan, learning_rate)
        step = model.train_step
        vars(model)["train_step"] = lambda *args: step(*args)

    def _score(self, held_out: np.ndarray) -> Scores:
        model, examples = self.setting.model, self.validation or self.examples
        self.snapshot.put_back_flags()  # JAX's trace depends on the trainable variables
        if self._judging is None:
            self._compile(Plan(model), 1e-3)
        else:
            vars(model).update(self._judging)
        self.forward_batches += -(-len(held_out) // examples.batch_size)
        if self.labels is None:
            scores = scores_by_loss(model, examples, held_out)
        else:
            outputs = model.predict(examples.at(held_out)[0], batch_size=examples.batch_size, verbose=0)
            scores = self.labels.scores(np.asarray(outputs), held_out)
        self._judging = dict(vars(model))
        return scores
