"""`Layout`: the number and length of the trials that a budget allows, and the examples that score them."""

import dataclasses
import math

import numpy as np

PARTS = 3
SHORTEST = 30  # steps of a trial: shorter trials rank rates wrongly
TRIALS = 8  # trials are shortened until the budget allows this many
FEW_STEPS, LONG_RUN = 400, 2000
MOST_HELD_OUT = 400


@dataclasses.dataclass(frozen=True)
class Layout:
    """The trials that a budget allows.

    Args:
        head_steps: The steps of a trial in which only the head trains.
        steps: The steps of a trial with everything trainable.
        trials: The number of trials.
        parts: The number of parts of the data that are held out in turn.
        is_floor: Whether this exceeds the budget, because the minimum is two trials.
    """

    head_steps: int
    steps: int
    trials: int
    parts: int
    is_floor: bool

    def rounds(self, candidates: int) -> list[int]:
        """The number of candidates tried with each part held out; at least two, because a comparison needs two.

        Args:
            candidates: The number of candidates.
        """
        found: list[int] = []
        left, number = self.trials, candidates
        for part in range(self.parts):
            later = self.parts - part - 1
            share = left - 2 * later if part == 0 else left // (later + 1)
            number = min(number, max(share, 2))
            if found and number > left:
                break
            found.append(number)
            left -= number
        return found


def budget_in_steps(run: int, budget: float | None) -> float:
    """The budget of a search in steps: by default half a run but at least 400 steps, or a tenth of a long run.

    Args:
        run: Integer, the steps of the run.
        budget: Float > 0, as a share of the run; `None` for the default.
    """
    if budget is not None:
        return budget * run
    return max(FEW_STEPS, run / 2) if run < LONG_RUN else run / 10


def batches_needed(run: int, budget: float | None) -> int:
    """The number of batches that the trials need, so that no more are kept in memory.

    Args:
        run: Integer, the steps of the run.
        budget: As for `budget_in_steps`.
    """
    return max(2 * SHORTEST, math.ceil(3 * budget_in_steps(run, budget) / TRIALS))


def layout_for(
    epochs: tuple[int, int], steps_per_epoch: int, budget: float | None, *, validated: bool, held_out_batches: float
) -> Layout:
    """The layout for a run.

    Args:
        epochs: The epochs of the head alone and of everything.
        steps_per_epoch: Integer.
        budget: As for `budget_in_steps`.
        validated: Whether there is validation data for the scores, so that trials train on all training data.
        held_out_batches: Float, the number of batches that score a trial.
    """
    run = sum(epochs) * steps_per_epoch
    allowed = budget_in_steps(run, budget)
    parts = 1 if validated else PARTS
    full = run if validated else max(math.ceil(run * (1 - 1 / PARTS)), 1)
    scoring = held_out_batches / 3
    steps = min(full, max(SHORTEST, int(allowed / TRIALS - scoring)))
    trials = int(allowed // (steps + scoring))
    head_steps = 0 if not epochs[0] else min(max(1, round(steps * epochs[0] / sum(epochs))), steps - 1)
    return Layout(head_steps, steps - head_steps, max(trials, 2), parts, trials < 2)


def divided(labels: np.ndarray | None, number: int, parts: int, seed: int) -> np.ndarray:
    """The part of each example, stratified by class.

    Args:
        labels: The class of each example, if there are classes.
        number: Integer, the number of examples.
        parts: Integer, the number of parts.
        seed: Integer, the seed of the split.
    """
    order = np.random.default_rng([seed, 1]).permutation(number)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(number, int)
    found[order] = np.arange(number) % parts
    return found
