"""The reliability diagram: how often predictions of a confidence are right."""

import numpy as np

from difflr.report import drawing


def draw_reliability(
    axes: drawing.Axes, edges: np.ndarray, confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray
) -> None:
    """Draws a reliability diagram, and how many examples each bin has.

    Args:
        axes: The axes.
        edges: Where the bins of the confidence begin, and where the last one ends.
        confidence: The mean confidence in each; NaN where there is no example.
        accuracy: Likewise the share that is right.
        count: Likewise the number of examples.

    Reference: Guo et al., On Calibration of Modern Neural Networks, 2017.
    """
    known = count > 0
    share = count / max(count.sum(), 1)
    bars = axes.bar(edges[:-1], share, np.diff(edges), align="edge", color=drawing.GRAY, alpha=0.35, linewidth=0)
    (line,) = axes.plot([0, 1], [0, 1], color=drawing.GRAY, linestyle="--", linewidth=1)
    (points,) = axes.plot(confidence[known], accuracy[known], "-", color=drawing.COLORS[0], linewidth=1)
    sizes = 12 + 110 * share[known]
    axes.scatter(confidence[known], accuracy[known], sizes, color=drawing.COLORS[0], zorder=3, clip_on=False)
    drawing.horizontal_grid(axes)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.02, 1.04)
    axes.set_xlabel("confidence: probability of the class predicted")
    axes.set_ylabel("share")
    names = ["right, in each bin", "if it were calibrated", "of the examples"]
    drawing.legend(axes, [points, line, *bars.patches[:1]], names, True)
