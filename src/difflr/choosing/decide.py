"""`decide`: the candidate that is better than the defaults beyond the noise, if there is one."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from difflr.choosing.candidate import Candidate
from difflr.choosing.choice import Tried
from difflr.choosing.scores import Scores

NOISE = 2.0  # standard errors by which a candidate must be better to replace the defaults
CHANCE = 0.9  # of the loss at chance: a candidate above this has learned nothing


@dataclasses.dataclass
class Trial:
    """The scores of one candidate.

    Args:
        candidate: The candidate.
        scores: Its scores, by the number of the held-out part of the data.
    """

    candidate: Candidate
    scores: dict[int, Scores] = dataclasses.field(default_factory=dict)

    @property
    def pooled(self) -> Scores:
        """The scores on all parts together."""
        return self.on(sorted(self.scores))

    def on(self, parts: Sequence[int]) -> Scores:
        """The scores on some parts together.

        Args:
            parts: Their numbers.
        """
        chosen = [self.scores[part] for part in parts]
        correct = [scores.correct for scores in chosen if scores.correct is not None]
        losses = np.concatenate([scores.losses for scores in chosen])
        return Scores(losses, np.concatenate(correct) if len(correct) == len(chosen) else None)

    def compared(self, defaults: "Trial") -> Tried:
        """The measurements, beside those of the defaults.

        Args:
            defaults: The trial of the defaults.
        """
        scores, found = self.pooled, self.candidate
        better_by = 0.0 if self is defaults else standard_errors(self, defaults)
        return Tried(found.profile, found.learning_rate, scores.loss, scores.accuracy, len(scores.losses), better_by)


def standard_errors(trial: Trial, other: Trial) -> float:
    """How much better a candidate is than another on the same examples, in standard errors; infinite if the other diverged.

    For classifiers, the smaller of two numbers: by the loss, and by the accuracy.

    Args:
        trial: The candidate.
        other: The other candidate.
    """
    common = sorted(set(trial.scores) & set(other.scores))
    ours, theirs = trial.on(common), other.on(common)
    if not math.isfinite(ours.loss):
        return -math.inf
    if not math.isfinite(theirs.loss):
        return math.inf
    found = [_errors(theirs.losses - ours.losses)]
    if ours.correct is not None and theirs.correct is not None:
        # For the accuracy half a standard error is enough: it counts whole examples, so it is the coarser measure.
        found.append(4 * _errors(ours.correct - theirs.correct))
    return min(found)


def _errors(gains: np.ndarray) -> float:
    spread = float(gains.std(ddof=1)) if len(gains) > 1 else math.inf
    if spread == 0:
        return math.copysign(math.inf, gains[0]) if gains[0] else 0.0
    return float(gains.mean()) / (spread / math.sqrt(len(gains)))


def survivors(trials: Sequence[Trial], number: int) -> list[Trial]:
    """The defaults, which come first, and the best of the others.

    Args:
        trials: All remaining trials.
        number: Integer, the number to keep.
    """
    return [trials[0], *sorted(trials[1:], key=lambda trial: trial.pooled.loss)[: number - 1]]


def decide(trials: Sequence[Trial], chance: float | None = None) -> tuple[Trial, str]:
    """The candidate to use, and why: the defaults unless another is better beyond the noise.

    Args:
        trials: All trials, the defaults first.
        chance: The loss of a classifier that has learned nothing; `None` if unknown.
    """
    constants, parts = trials[0], max(len(trial.scores) for trial in trials)
    alive = [trial for trial in trials if math.isfinite(trial.pooled.loss)]
    if not alive:
        return constants, "every candidate diverged"
    alive = [trial for trial in alive if chance is None or trial.pooled.loss < CHANCE * chance]
    if not alive:
        return constants, "nothing learned: no candidate is better than chance on held-out examples"
    raced = [trial for trial in alive if trial is not constants and len(trial.scores) == parts]
    gains = [standard_errors(trial, constants) for trial in raced]
    most = max(gains, default=0.0)
    if most > NOISE:
        by = "far more than the noise" if math.isinf(most) else f"{most:.1f} standard errors"
        return raced[gains.index(most)], f"better than the defaults by {by} on held-out examples"
    if constants in alive:
        return (
            constants,
            f"no other candidate is better beyond the noise ({NOISE:g} standard errors): the defaults are kept",
        )
    best = min(alive, key=lambda trial: trial.pooled.loss)
    return best, "the defaults diverged or learned nothing; this is the best of the other candidates"
