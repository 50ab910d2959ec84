"""The part of a page that shows an evaluation: the worst mistakes first."""

from collections.abc import Callable
from typing import Any

from difflr.report import drawing
from difflr.report.measured import Measured, Mistake
from difflr.report.thumbnail import thumbnail

MOST_MISTAKES = 24
LONGEST_TEXT = 400


def evaluation_section(
    found: Measured, plot: Callable[[str, Callable[[drawing.Axes], None], float], dict[str, str]]
) -> dict[str, Any]:
    """What the template shows.

    Args:
        found: What was measured.
        plot: Function from a title, what draws on axes, and a height in inches to a plot of the page.
    """
    mistakes = found.mistakes(MOST_MISTAKES)
    number = len(found.all_mistakes())
    header, lines = found.table()
    more = f"The {len(mistakes)} worst of {number:,} mistakes" if number > len(mistakes) else "All mistakes"
    return {
        "sentence": found.sentence(),
        "caption": f"{more}, the worst first.",
        "mistakes": [_shown(found, mistake) for mistake in mistakes],
        "plots": [plot(one.title, one.draw, one.height) for one in found.plots()],
        "header": header,
        "lines": lines,
        "numbers": {name.replace("_", " "): f"{value:.4g}" for name, value in found.numbers().items()},
    }


def _shown(found: Measured, mistake: Mistake) -> dict[str, str]:
    shown = None if found.show is None else found.show(mistake.position)
    text = shown if isinstance(shown, str) else ""
    return {
        "name": mistake.name,
        "truth": mistake.truth,
        "predicted": mistake.predicted,
        "text": text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…",
        "image": "" if shown is None or isinstance(shown, str) else thumbnail(shown),
    }
