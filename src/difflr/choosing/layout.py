"""`Layout`: how many trials of how many steps a budget allows, and which examples each is scored on."""

import dataclasses
import math

import numpy as np

PARTS = 3
SHORTEST = 30  # steps of a trial: shorter ones rank rates wrongly
TRIALS = 8  # that a trial is shortened for
FEW_STEPS, LONG_RUN = 400, 2000
MOST_HELD_OUT = 400


@dataclasses.dataclass(frozen=True)
class Layout:
    """The trials that a budget allows.

    Args:
        head_steps: Steps of the head alone, in a trial.
        steps: Steps with everything trainable.
        trials: How many trials there are.
        parts: How many parts of the data are held out, one after another.
        is_floor: Whether this is more than the budget: two trials are the least.
    """

    head_steps: int
    steps: int
    trials: int
    parts: int
    is_floor: bool

    def rounds(self, candidates: int) -> list[int]:
        """How many candidates are tried with each part held out; two at least, as one says nothing.

        Args:
            candidates: How many there are.
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
    """The steps that a search may cost: by default half a run, 400 at least, a tenth of a long run.

    Args:
        run: Integer, the steps of the run.
        budget: Float > 0, as a share of the run; `None` for the default.
    """
    if budget is not None:
        return budget * run
    return max(FEW_STEPS, run / 2) if run < LONG_RUN else run / 10


def batches_needed(run: int, budget: float | None) -> int:
    """How many batches of a dataset the trials can make use of, so that no more are held in memory.

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
        validated: Whether there is validation data to score on, so that trials train on everything.
        held_out_batches: Float, the batches that a trial is scored on.
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
    """Into which part each example falls, each class evenly.

    Args:
        labels: The class of each example, where there are classes.
        number: Integer, how many examples.
        parts: Integer, how many parts.
        seed: Integer.
    """
    order = np.random.default_rng([seed, 1]).permutation(number)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(number, int)
    found[order] = np.arange(number) % parts
    return found
