"""`LabelEvaluation`: several labels an example."""

import functools

import numpy as np

from difflr.report import drawing
from difflr.report.measured import HITS, Measured, Mistake, Plot, hits, mean_of_known, percent

THRESHOLD = 0.5
SMALLEST = 1e-7


class LabelEvaluation(Measured):
    """Several labels an example: `y` holds 0 and 1, `scores` probabilities, both `(n, num_labels)`."""

    columns = "labels"

    @functools.cached_property
    def predicted(self) -> np.ndarray:
        """Boolean array: which labels are predicted."""
        return self.scores >= THRESHOLD

    @functools.cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """Precision, recall, F1 and number of examples of each label."""
        actual = self.y > 0
        return hits((actual & self.predicted).sum(0), self.predicted.sum(0), actual.sum(0))

    def numbers(self) -> dict[str, float]:
        """F1 over all labels, and the share of examples of which all labels are right."""
        actual = self.y > 0
        counts = (actual & self.predicted).sum(), self.predicted.sum(), actual.sum()
        return {
            "micro_f1": float(hits(*map(np.atleast_1d, counts))["f1"][0]),
            "macro_f1": mean_of_known(self.measures["f1"]),
            "all_right": float((actual == self.predicted).all(1).mean()),
            "log_loss": float(self._losses().mean()),
        }

    def _losses(self) -> np.ndarray:
        """The binary cross-entropy of each label of each example."""
        truth = np.where(self.y > 0, self.scores, 1 - self.scores)
        return -np.log(np.clip(truth, SMALLEST, 1))

    def sentence(self) -> str:
        """F1 and the examples without a mistake."""
        right = int(((self.y > 0) == self.predicted).all(1).sum())
        return (
            f"F1 {percent(self.numbers()['micro_f1'])} over all labels; all labels right in {right:,} of {len(self):,}"
        )

    def table(self) -> tuple[list[str], list[list[str]]]:
        """A row for each label."""
        return ["label", *HITS], self.rows_of_hits()

    def all_mistakes(self) -> list[Mistake]:
        """Examples with a wrong label; the worse the less probable the truth was thought to be."""
        wrong, losses = (self.y > 0) != self.predicted, self._losses().sum(1)
        return [
            Mistake(
                int(position),
                self.names[int(position)],
                self._labels(self.y[position] > 0),
                self._labels(self.predicted[position]),
                float(losses[position]),
            )
            for position in np.flatnonzero(wrong.any(1))
        ]

    def _labels(self, chosen: np.ndarray) -> str:
        return ", ".join(self.class_names[number] for number in np.flatnonzero(chosen)) or "none"

    def plots(self) -> list[Plot]:
        """F1 of each label."""
        height = drawing.height_for(len(self.class_names))
        return [Plot("f1", "F1 of each label", self._draw, height)]

    def _draw(self, axes: drawing.Axes) -> None:
        scores = np.nan_to_num(self.measures["f1"])
        axes.barh(np.arange(len(scores)), scores, color=drawing.COLORS[0])
        drawing.label_layers(axes, self.class_names)
        axes.set_xlim(0, 1)
        axes.set_xlabel("F1")
