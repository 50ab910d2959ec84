"""`suggest`: measures the rate, its profile over depth, and the normalization."""

import dataclasses
import functools
import itertools
import math
import os
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from difflr.checks import checked_number, checked_rate, checked_steps
from difflr.choosing.candidate import HEAD_ALONE, STEP, Candidate, candidates_for
from difflr.choosing.choice import Choice, Cost
from difflr.choosing.decide import Trial, decide, survivors
from difflr.choosing.examples import Examples, is_dataset, num_batches, read_examples
from difflr.choosing.fine_tune_settings import fine_tune_settings, with_values
from difflr.choosing.journal import Journal, fingerprint
from difflr.choosing.layout import MOST_HELD_OUT, batches_needed, layout_for
from difflr.choosing.scores import Scores, labels_of
from difflr.choosing.setting import Setting, setting_of
from difflr.choosing.stages import head_paths
from difflr.choosing.trial import Trials
from difflr.depth.named_head import HEAD, Target
from difflr.plan import Plan
from difflr.recipes.layerwise_decay import looks_fresh
from difflr.verification.snapshot import Snapshot

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
    """Measures how to fine-tune a model: base rate, multipliers by depth, normalization. Restores the model bit for bit.

    The defaults of `difflr.fine_tune` and other candidates train from the same weights on one part of the data, and are
    scored on another part. A candidate replaces the defaults only if it is better beyond the noise. If nothing can be
    measured, the defaults are chosen, and `choice.reason` says why.

    Args:
        model: A built Keras model: a pretrained backbone and a new head.
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
    setting = setting_of(model, optimizer, loss).for_trials()
    # Before anything else: tracing a model and reading some datasets draw random numbers.
    with Snapshot(model) as snapshot:
        own_plan, rules = _as_plan(plan, setting)
        split = 0.0 if validation_data is not None else validation_split
        batches = num_batches(x, batch_size, split, steps_per_epoch)
        settings = fine_tune_settings(model, epochs=epochs, steps_per_epoch=batches, head=head)
        settings = with_values(settings, "as asked", learning_rate=learning_rate, freeze_epochs=freeze_epochs)
        stages = settings.freeze_epochs, epochs
        run_steps = sum(stages) * batches
        candidates = candidates_for(
            model,
            settings,
            plan=own_plan,
            rules=rules,
            learning_rate=learning_rate,
            head=head,
            without_decay=setting.optimizer is None,
        )
        defaults = next(candidates)
        why_not = _cannot_say(setting)
        if not why_not:
            if learning_rate is None:
                setting.warn_of_other_scale(settings.learning_rate)
            most = min(batches, batches_needed(run_steps, budget))
            examples = read_examples(x, y, sample_weight, batch_size=batch_size, max_batches=most)
            examples, validation = _validation(examples, validation_data, validation_split, batch_size)
            if len(examples) < (2 if examples.whole_batches else FEWEST):
                why_not = (
                    f"too little data: {len(examples)} examples are too few to measure differences beyond the noise"
                )
        if why_not:
            reason = f"{why_not}: the defaults of `fine_tune` are kept"
            return _choice([Trial(defaults)], defaults, reason, Cost(0, 0, run_steps))
        judged = validation or examples
        layout = layout_for(
            stages,
            batches,
            budget,
            validated=validation is not None,
            held_out_batches=min(len(judged) / (3 if validation is None else 1), MOST_HELD_OUT) / examples.batch_size,
        )
        labels = labels_of(model, setting.arguments.get("loss"), judged)
        trials = Trials(
            snapshot, setting, examples, validation, layout, labels, head_paths(model, head), class_weight, seed
        )
        raced = [defaults, *itertools.islice(candidates, layout.rounds(MOST_CANDIDATES)[0] - 1)]
        search = fingerprint(model, examples, layout, seed, [candidate.name for candidate in raced])
        tried = _race(trials, raced, Journal(journal, search), bool(verbose))
    chosen, reason = decide(tried, None if labels is None else labels.chance)
    if layout.is_floor:
        reason += f"; the minimum of two trials exceeds the budget of {budget:g} of a run"
    if chosen.candidate.profile == HEAD_ALONE:
        reason += "; the body keeps its pretrained weights"
    cost = Cost(trials.train_steps, trials.forward_batches, run_steps, time.perf_counter() - begun)
    return _choice(tried, chosen.candidate, reason, cost)


def _race(trials: Trials, candidates: Sequence[Candidate], journal: Journal, verbose: bool) -> list[Trial]:
    """Rounds of trials, one for each held-out part, with fewer candidates in each."""
    begun, done, rounds = time.perf_counter(), 0, trials.layout.rounds(len(candidates))
    racing = everyone = [Trial(candidate) for candidate in candidates]
    for part, number in enumerate(rounds):
        if part:
            racing = survivors(racing, number)
            if not any(math.isfinite(trial.pooled.loss) for trial in racing):
                racing = [racing[0], *_slower(everyone, number - 1)]
                everyone = everyone + racing[1:]
        split = trials.parts(part)
        for trial in racing:
            run = functools.partial(trials.run, trial.candidate, *split)
            trial.scores[part] = journal.scores(f"{trial.candidate.name}, part {part}", run)
            done += 1
            if verbose:
                left = (time.perf_counter() - begun) / done * (sum(rounds) - done)
                scores = _shown(trial.scores[part])
                print(f"trial {done} of {sum(rounds)}: {trial.candidate.name}: {scores}; {left:.0f} s left")
    return everyone


def _slower(everyone: Sequence[Trial], number: int) -> list[Trial]:
    """Candidates for when all others diverged: the defaults at lower rates."""
    first = everyone[0].candidate
    lowest = min(trial.candidate.learning_rate for trial in everyone if trial.candidate.profile == first.profile)
    rates = [lowest / STEP**power for power in range(1, number + 1)]
    return [Trial(dataclasses.replace(first, learning_rate=rate)) for rate in rates]


def _shown(scores: Scores) -> str:
    right = "" if scores.accuracy is None else f"accuracy {scores.accuracy:.0%}, "
    return f"{right}loss {scores.loss:.3g}"


def _choice(trials: Sequence[Trial], chosen: Candidate, reason: str, cost: Cost) -> Choice:
    tried = [trial.compared(trials[0]) for trial in trials if trial.scores]
    is_measured = chosen is not trials[0].candidate
    return Choice(chosen.learning_rate, chosen.plan, chosen.head_first, reason, tried, cost, is_measured)


def _as_plan(plan: object, setting: Setting) -> tuple[Plan | None, Plan | None]:
    """The plan of the user or the optimizer, if there is one; or the user's rules as a plan."""
    if plan is not None and not isinstance(plan, Plan):
        return None, Plan(setting.model, plan)
    return setting.whole_plan(plan), None


def _cannot_say(setting: Setting) -> str:
    """The reason why nothing can be measured, if that is known without a trial."""
    names = [cls.__name__ for cls in type(setting.own).__mro__]
    if "Lamb" in names or "LARS" in names or getattr(setting.own, "relative_step", False):
        return f"{names[0]} scales each layer's step itself, which cancels multipliers"
    if looks_fresh(setting.model):
        return "the model looks freshly initialized: a few steps of training from scratch cannot rank rates"
    return ""


def _validation(
    examples: Examples, validation_data: Any, validation_split: float, batch_size: int | None
) -> tuple[Examples, Examples | None]:
    """The training examples, and the validation examples if there are any."""
    if validation_data is not None:
        several = isinstance(validation_data, (tuple, list)) and not is_dataset(validation_data)
        return examples, read_examples(*(validation_data if several else [validation_data]), batch_size=batch_size)
    if validation_split and not examples.whole_batches:
        first = int(len(examples) * (1 - validation_split))
        parts = np.split(np.arange(len(examples)), [first])
        training, validation = (Examples([examples.at(part)], examples.batch_size) for part in parts)
        return training, validation
    return examples, None
