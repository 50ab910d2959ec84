"""`ClassEvaluation`: one class an example."""

import functools
import math
from typing import Any

import numpy as np

from difflr.report.measured import HITS, Measured, Mistake, Plot, hits, mean_of_known, percent
from difflr.report.plot_confusion import confusion_height, draw_confusion
from difflr.report.reliability import Reliability, reliability

TOP = 5
MANY_CLASSES = 20
SMALLEST = 1e-7


def interval(right: int, number: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, by Wilson's score.

    Args:
        right: How many are right.
        number: Of how many.
    """
    z, share = 1.96, right / number
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    reach = z * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number)) / (1 + z * z / number)
    return max(0.0, middle - reach), min(1.0, middle + reach)


class ClassEvaluation(Measured):
    """One class an example: `y` holds labels `(n,)`, `scores` probabilities `(n, num_classes)`."""

    columns = "classes"

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """The label of the highest probability."""
        return self.scores.argmax(1)

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """Integer array `(num_classes, num_classes)`: a row for what they are, a column for what they were taken for."""
        number = self.scores.shape[1]
        return np.bincount(self.y * number + self.predicted, minlength=number * number).reshape(number, number)

    @functools.cached_property
    def reliability(self) -> Reliability:
        """Confidence against accuracy."""
        return reliability(self.scores.max(1), self.predicted == self.y)

    @functools.cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """Precision, recall, F1 and number of examples of each class."""
        return hits(np.diag(self.confusion), self.confusion.sum(0), self.confusion.sum(1))

    def numbers(self) -> dict[str, float]:
        """Accuracy, F1, log loss and calibration."""
        truth = self.scores[np.arange(len(self)), self.y]
        numbers = {"accuracy": float((self.predicted == self.y).mean())}
        if self.scores.shape[1] > 2 * TOP:
            higher = (self.scores > truth[:, None]).sum(1)
            numbers[f"top_{TOP}_accuracy"] = float((higher < TOP).mean())
        return numbers | {
            "macro_f1": mean_of_known(self.measures["f1"]),
            "balanced_accuracy": mean_of_known(self.measures["recall"]),
            "log_loss": float(-np.log(np.clip(truth, SMALLEST, 1)).mean()),
            "mean_confidence": float(self.scores.max(1).mean()),
            "calibration_error": self.reliability.error,
        }

    def sentence(self) -> str:
        """The accuracy, and how sure that is."""
        right = int((self.predicted == self.y).sum())
        low, high = interval(right, len(self))
        share = percent(right / len(self))
        return (
            f"Accuracy {share} ({right:,} of {len(self):,} right; 95 % interval {100 * low:.0f} to {100 * high:.0f} %)"
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """A row for each class."""
        taken = ([self._taken_for(number)] for number in range(len(self.class_names)))
        rows = [[*row, *more] for row, more in zip(self.rows_of_hits(), taken, strict=True)]
        return ["class", *HITS, "most often taken for"], rows

    def _taken_for(self, label: int) -> str:
        others = self.confusion[label].copy()
        others[label] = 0
        most = int(others.argmax())
        return f"{self.class_names[most]} ({others[most]:,})" if others[most] else "-"

    def all_mistakes(self) -> list[Mistake]:
        """The worse the less probable the truth was thought to be."""
        return [
            Mistake(
                int(position),
                self.names[int(position)],
                self.class_names[self.y[position]],
                f"{self.class_names[label]} {100 * self.scores[position, label]:.0f} %",
                float(1 - self.scores[position, self.y[position]]),
            )
            for position in np.flatnonzero(self.predicted != self.y)
            for label in [self.predicted[position]]
        ]

    def plots(self) -> list[Plot]:
        """The confusion matrix and the reliability diagram."""
        bins = self.reliability
        error = f"Confidence and accuracy: the calibration error is {percent(bins.error)}"
        return [
            Plot(
                "confusion",
                "What the examples are, and what they were taken for",
                lambda axes: draw_confusion(axes, self.confusion, self.class_names),
                confusion_height(len(self.class_names)),
            ),
            Plot("calibration", error, bins.draw, 4.2),
        ]

    def details(self) -> dict[str, Any]:
        """Numbers of each class, the confusion matrix, the bins of the calibration."""
        bins = self.reliability
        known = zip(bins.confidence, bins.accuracy, bins.count, strict=True)
        return {
            **super().details(),
            "confusion": self.confusion.tolist(),
            "calibration": [
                {"confidence": float(mean), "accuracy": float(share), "examples": int(number)}
                for mean, share, number in known
                if number
            ],
        }
