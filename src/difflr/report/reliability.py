"""`reliability`: how often predictions of a confidence are right, as numbers and as a diagram."""

import dataclasses

import numpy as np

from difflr.report import drawing
from difflr.report.measured import ratio

NUM_BINS = 15


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How often predictions of a confidence are right.

    Args:
        edges: Float array `(bins + 1,)`: where each bin begins, and where the last one ends.
        confidence: Float array `(bins,)`: the mean confidence in each; NaN where there is no example.
        accuracy: Likewise the share that is right.
        count: Likewise the number of examples.
    """

    edges: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of the two, an example a vote."""
        distance = np.nan_to_num(np.abs(self.accuracy - self.confidence))
        return float((distance * self.count).sum() / max(self.count.sum(), 1))

    def draw(self, axes: drawing.Axes) -> None:
        """Draws the diagram, and how many examples each bin has.

        Args:
            axes: The axes.
        """
        known = self.count > 0
        share = self.count / max(self.count.sum(), 1)
        places, widths, color = self.edges[:-1], np.diff(self.edges), drawing.COLORS[0]
        confidence, accuracy = self.confidence[known], self.accuracy[known]
        bars = axes.bar(places, share, widths, align="edge", color=drawing.GRAY, alpha=0.35, linewidth=0)
        (line,) = axes.plot([0, 1], [0, 1], color=drawing.GRAY, linestyle="--", linewidth=1)
        (points,) = axes.plot(confidence, accuracy, "-", color=color, linewidth=1)
        axes.scatter(confidence, accuracy, 12 + 110 * share[known], color=color, zorder=3, clip_on=False)
        drawing.horizontal_grid(axes)
        axes.set_xlim(0, 1)
        axes.set_ylim(-0.02, 1.04)
        axes.set_xlabel("confidence: probability of the class predicted")
        axes.set_ylabel("share")
        names = ["right, in each bin", "if it were calibrated", "of the examples"]
        drawing.legend(axes, [points, line, *bars.patches[:1]], names, True)


def reliability(confidence: np.ndarray, right: np.ndarray, num_bins: int = NUM_BINS) -> Reliability:
    """Confidence against accuracy, in bins of equal width.

    Args:
        confidence: Float array `(n,)`, 0 to 1.
        right: Boolean array `(n,)`.
        num_bins: Integer.

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    edges = np.linspace(0, 1, num_bins + 1)
    position = np.clip(np.searchsorted(edges, confidence, "left") - 1, 0, num_bins - 1)
    count = np.bincount(position, minlength=num_bins)
    mean = ratio(np.bincount(position, confidence, num_bins), count)
    return Reliability(edges, mean, ratio(np.bincount(position, right.astype("float64"), num_bins), count), count)
