"""The worst mistakes as a contact sheet."""

import math
from typing import TYPE_CHECKING

import numpy as np

from difflr.report.labels import shortened
from difflr.report.measured import Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, MOST = 6, 24
LONGEST = 22
WIDTH = 1.5  # inches of a picture
RIGHT, WRONG = "#0072B2", "#B34400"


def contact_sheet(found: Measured) -> "Figure | None":
    """The pictures that were predicted wrongly, the worst first; `None` if there are none to be shown.

    Args:
        found: What was measured.
    """
    from matplotlib.figure import Figure

    mistakes = found.mistakes(MOST)
    pictures = [] if found.show is None else [found.show(mistake.position) for mistake in mistakes]
    if not pictures or any(isinstance(picture, str) for picture in pictures):
        return None
    rows = math.ceil(len(mistakes) / COLUMNS)
    columns = min(COLUMNS, len(mistakes))
    figure = Figure(figsize=(WIDTH * columns + 0.2, (WIDTH + 0.65) * rows + 0.2), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for one in axes:
        one.set_axis_off()
    for one, mistake, picture in zip(axes, mistakes, pictures, strict=False):
        values = np.asarray(picture)
        one.imshow(values[..., 0] if values.shape[-1] == 1 else values, cmap="gray", vmin=0, vmax=255)
        truth, predicted, name = (
            shortened([text], LONGEST)[0] for text in (mistake.truth, mistake.predicted, mistake.name)
        )
        lines = ((truth, RIGHT, -0.03), (f"→ {predicted}", WRONG, -0.14), (name, "#5B6575", -0.25))
        for text, colour, height in lines:
            label = one.text(0, height, text, color=colour, fontsize=7, va="top", transform=one.transAxes)
            label.set_parse_math(False)
    return figure
