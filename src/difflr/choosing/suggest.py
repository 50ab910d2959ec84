"""`suggest`: measures the rate, its profile over depth, and the normalization."""

import dataclasses
import functools
import math
import os
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from difflr.checks import checked_number, checked_rate, checked_steps
from difflr.choosing.candidate import HEAD_ALONE, STEP, Candidate, candidates_for
from difflr.choosing.choice import Choice, Cost, Tried
from difflr.choosing.decide import Trial, decide, standard_errors, survivors
from difflr.choosing.examples import Examples, is_dataset, read_examples
from difflr.choosing.journal import Journal, fingerprint
from difflr.choosing.layout import MOST_HELD_OUT, Layout, batches_needed, divided, layout_for
from difflr.choosing.scores import Scores, labels_of
from difflr.choosing.setting import Setting, setting_of
from difflr.choosing.snapshot import Snapshot
from difflr.choosing.trial import Trials
from difflr.depth.named_head import HEAD, Target
from difflr.fine_tuning.fine_tune import head_paths, warn_of_other_scale
from difflr.fine_tuning.fine_tune_settings import fine_tune_settings
from difflr.fine_tuning.num_batches import num_batches
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.unwrap import inner
from difflr.plan import Plan
from difflr.recipes.layerwise_decay import looks_fresh

MOST_CANDIDATES = 12
FEWEST = 24  # examples: with fewer, the noise is larger than any difference


def suggest(
    model: keras.Model,
    x: Any,
    y: object = None,
    *,
    epochs: int,
    loss: object = None,
    plan: object = None,
    learning_rate: float | None = None,
    freeze_epochs: int | None = None,
    head: Target = HEAD,
    optimizer: keras.optimizers.Optimizer | str | None = None,
    budget: float | None = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    sample_weight: object = None,
    class_weight: dict[int, float] | None = None,
    seed: int = 0,
    journal: str | os.PathLike[str] | None = None,
    verbose: int | str = "auto",
) -> Choice:
    """Measures how to fine-tune a model: base rate, profile over depth, normalization. The model is restored bit for bit.

    The defaults of `difflr.fine_tune` and other candidates train from the same weights on one part of the data, and are
    scored on another part. Another candidate is chosen only if it is better than the defaults beyond the noise. If nothing
    can be measured, the choice is the defaults, and `choice.reason` says why.

    Args:
        model: A built Keras model: a pretrained body and a new head.
        x: As in `fit`: arrays, a `tf.data.Dataset`, a torch `DataLoader`, a `keras.utils.PyDataset`, or a generator
            with `steps_per_epoch`. Only the needed batches are read; they are kept in memory.
        y: As in `fit`: the targets, unless `x` includes them.
        epochs: Integer, as for `fine_tune`.
        loss: As in `compile`; needed if the model is not compiled.
        plan: A `difflr.Plan`: only the rate is measured. Or rules as in `difflr.Plan`: they apply to all candidates, and
            the rest is measured.
        learning_rate: Float > 0. Use this rate, and measure the rest.
        freeze_epochs: Integer, as for `fine_tune`.
        head: As for `fine_tune`.
        optimizer: As for `fine_tune`.
        budget: Float > 0. The cost of the search, as a share of the run. By default half a run or 400 steps, whichever is
            more; a tenth of a run of 2,000 steps or more.
        validation_data: As in `fit`. Trials are scored on it; otherwise on each third of the data in turn.
        validation_split: As in `fit`.
        batch_size: As in `fit`, for arrays.
        steps_per_epoch: As in `fit`.
        sample_weight: As in `fit`, for arrays.
        class_weight: As in `fit`.
        seed: Integer, the seed of the split and of the order of the examples. The same seed gives the same choice.
        journal: A file that records finished trials, so that an interrupted search can resume.
        verbose: 0 for no progress.

    Returns:
        A `difflr.Choice`.

    Raises:
        TypeError: If an argument has an unknown form.
        ValueError: If a number is out of range; or if the model is not built, has no head, or is neither compiled nor given
            a `loss`.

    Example:

    ```python
    import keras
    import difflr

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    choice = difflr.suggest(model, x, y, epochs=2, loss=loss, verbose=0)
    print(choice)
    ```
    """
    begun = time.perf_counter()
    epochs = checked_steps(epochs, "epochs")
    budget = None if budget is None else checked_number(budget, "budget")
    learning_rate = None if learning_rate is None else checked_rate(learning_rate, "learning_rate")
    setting = setting_of(model, optimizer, loss)
    with Snapshot(
        model
    ) as snapshot:  # before anything else: tracing a model and reading some datasets draw random numbers
        own_plan, rules = _as_plan(model, plan, setting)
        split = 0.0 if validation_data is not None else validation_split
        batches = num_batches(x, batch_size, split, steps_per_epoch)
        settings = fine_tune_settings(model, epochs=epochs, steps_per_epoch=batches, head=head)
        settings = settings.changed("as asked", learning_rate=learning_rate, freeze_epochs=freeze_epochs)
        candidates = functools.partial(
            candidates_for,
            model,
            settings,
            plan=own_plan,
            rules=rules,
            learning_rate=learning_rate,
            head=head,
            without_decay=setting.optimizer is None,
        )
        stages = settings.freeze_epochs, epochs
        nothing = Cost(0, 0, sum(stages) * batches)
        why_not = _cannot_say(model, setting)
        if why_not:
            return _constants(candidates(number=1)[0], why_not, nothing)
        if learning_rate is None:
            warn_of_other_scale(setting.optimizer, settings.learning_rate)
        most = min(batches, batches_needed(sum(stages) * batches, budget))
        examples = read_examples(x, y, sample_weight, batch_size=batch_size, max_batches=most)
        examples, validation = _validation(examples, validation_data, validation_split, batch_size)
        if len(examples) < (2 if examples.whole_batches else FEWEST):
            why_not = f"too little data: {len(examples)} examples are too few to measure differences beyond the noise"
            return _constants(candidates(number=1)[0], why_not, nothing)
        search = _Search(model, setting, examples, validation, stages, batches, budget, seed)
        raced = candidates(number=search.most_candidates)
        trials, cost = search.run(snapshot, raced, head, class_weight, journal, verbose)
    return search.choice(trials, cost, time.perf_counter() - begun)


class _Search:
    """Successive rounds of trials, with fewer candidates in each."""

    def __init__(
        self,
        model: keras.Model,
        setting: Setting,
        examples: Examples,
        validation: Examples | None,
        epochs: tuple[int, int],
        batches: int,
        budget: float | None,
        seed: int,
    ):
        self._model, self._setting, self._examples, self._seed = model, setting, examples, seed
        self._judged = examples if validation is None else validation
        self._validated = validation is not None
        held_out = min(len(self._judged) / (1 if self._validated else 3), MOST_HELD_OUT)
        self._layout: Layout = layout_for(
            epochs, batches, budget, validated=self._validated, held_out_batches=held_out / examples.batch_size
        )
        self._labels = labels_of(model, setting.arguments.get("loss"), self._judged)
        self._run_steps = sum(epochs) * batches
        self._budget = budget
        self.most_candidates = self._layout.rounds(MOST_CANDIDATES)[0]

    def run(
        self,
        snapshot: Snapshot,
        candidates: Sequence[Candidate],
        head: Target,
        class_weight: dict[int, float] | None,
        journal: str | os.PathLike[str] | None,
        verbose: int | str,
    ) -> tuple[list[Trial], Cost]:
        layout, begun = self._layout, time.perf_counter()
        kept = Journal(
            journal, fingerprint(self._model, self._examples, layout, self._seed, [c.name for c in candidates])
        )
        trials = Trials(
            snapshot,
            self._setting,
            self._examples,
            self._judged,
            head_steps=layout.head_steps,
            steps=layout.steps,
            labels=self._labels,
            head=head_paths(self._model, head),
            class_weight=class_weight,
            seed=self._seed,
        )
        rounds = layout.rounds(len(candidates))
        everyone = [Trial(candidate) for candidate in candidates]
        racing, done = list(everyone), 0
        for part, number in enumerate(rounds):
            racing = survivors(racing, number) if part else racing
            if part and not any(math.isfinite(trial.pooled.loss) for trial in racing):
                racing = [racing[0], *_slower(everyone, number - 1)]
                everyone += racing[1:]
            train, held_out = self._parts(part)
            for trial in racing:
                name = f"{trial.candidate.name}, part {part}"
                scores = kept.get(name) or trials.run(trial.candidate, train, held_out)
                kept.put(name, scores)
                trial.scores[part] = scores
                done += 1
                if verbose:
                    left = (time.perf_counter() - begun) / done * (sum(rounds) - done)
                    print(f"trial {done} of {sum(rounds)}: {trial.candidate.name}: {_shown(scores)}; {left:.0f} s left")
        return everyone, Cost(trials.train_steps, trials.forward_batches, self._run_steps)

    def _parts(self, part: int) -> tuple[np.ndarray, np.ndarray]:
        """The examples to train on and those to score on."""
        if self._validated:
            held_out = np.random.default_rng(self._seed).permutation(len(self._judged))[:MOST_HELD_OUT]
            return np.arange(len(self._examples)), np.sort(held_out)
        labels = None if self._labels is None else self._labels.numbers
        parts = divided(labels, len(self._examples), self._layout.parts, self._seed)
        return np.flatnonzero(parts != part), np.flatnonzero(parts == part)[:MOST_HELD_OUT]

    def choice(self, trials: list[Trial], cost: Cost, seconds: float) -> Choice:
        chosen, reason = decide(trials, None if self._labels is None else self._labels.chance)
        if self._layout.is_floor:
            reason += f"; the minimum of two trials exceeds the budget of {self._budget:g} of a run"
        tried = [
            Tried(
                trial.candidate.profile,
                trial.candidate.learning_rate,
                trial.pooled.loss,
                trial.pooled.accuracy,
                len(trial.pooled.losses),
                0.0 if trial is trials[0] else standard_errors(trial, trials[0]),
            )
            for trial in trials
        ]
        if chosen.candidate.profile == HEAD_ALONE:
            reason += "; the body keeps its pretrained weights"
        cost = Cost(cost.train_steps, cost.forward_batches, cost.run_steps, seconds)
        found = chosen.candidate
        return Choice(
            found.learning_rate, found.plan, found.head_first, reason, tried, cost, is_measured=chosen is not trials[0]
        )


def _slower(everyone: Sequence[Trial], number: int) -> list[Trial]:
    """Candidates for when all others diverged: the defaults at lower rates."""
    first = everyone[0].candidate
    lowest = min(trial.candidate.learning_rate for trial in everyone if trial.candidate.profile == first.profile)
    rates = [lowest / STEP**power for power in range(1, number + 1)]
    return [Trial(dataclasses.replace(first, learning_rate=rate)) for rate in rates]


def _shown(scores: Scores) -> str:
    right = "" if scores.accuracy is None else f"accuracy {scores.accuracy:.0%}, "
    return f"{right}loss {scores.loss:.3g}"


def _constants(candidate: Candidate, reason: str, cost: Cost) -> Choice:
    reason = f"{reason}: the defaults of `fine_tune` are kept"
    return Choice(candidate.learning_rate, candidate.plan, candidate.head_first, reason, [], cost, is_measured=False)


def _as_plan(model: keras.Model, plan: object, setting: Setting) -> tuple[Plan | None, Plan | None]:
    """The user's plan, or the user's rules as a plan."""
    own = inner(setting.optimizer)
    if plan is None:
        given = isinstance(own, DifferentialOptimizer) and own.has_multipliers
        return (setting.plan_or(None).whole, None) if given else (None, None)
    return (plan, None) if isinstance(plan, Plan) else (None, Plan(model, plan))


def _cannot_say(model: keras.Model, setting: Setting) -> str:
    """The reason why nothing can be measured, if that is known without a trial."""
    optimizer = inner(setting.optimizer)
    names = {cls.__name__ for cls in type(optimizer).__mro__}
    if names & {"Lamb", "LARS"} or ("Adafactor" in names and getattr(optimizer, "relative_step", False)):
        return f"{type(optimizer).__name__} scales each layer's step itself, which cancels multipliers"
    if looks_fresh(model):
        return "the model looks freshly initialized: a few steps of training from scratch cannot rank rates"
    return ""


def _validation(
    examples: Examples, validation_data: Any, validation_split: float, batch_size: int | None
) -> tuple[Examples, Examples | None]:
    """The training examples, and the validation examples if there are any."""
    if validation_data is not None:
        several = isinstance(validation_data, (tuple, list)) and not is_dataset(validation_data)
        parts = validation_data if several else (validation_data,)
        return examples, read_examples(*parts, batch_size=batch_size)
    if validation_split and not examples.whole_batches:
        first = int(len(examples) * (1 - validation_split))
        numbers = np.arange(len(examples))
        split = [Examples([examples.at(part)], examples.batch_size) for part in (numbers[:first], numbers[first:])]
        return split[0], split[1]
    return examples, None
