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
WIDTH, GAP, CAPTION, LINE = 1.5, 0.12, 0.46, 0.13  # inches
RIGHT, WRONG, NAME = "#0072B2", "#B34400", "#5B6575"


def contact_sheet(found: Measured) -> "Figure | None":
    """The images that were predicted wrongly, the worst first; `None` if there are none to be shown.

    Args:
        found: What was measured.
    """
    from matplotlib.figure import Figure

    mistakes = found.mistakes(MOST)
    images = [] if found.show is None else [found.show(mistake.position) for mistake in mistakes]
    if not images or any(isinstance(image, str) for image in images):
        return None
    rows, columns = math.ceil(len(mistakes) / COLUMNS), min(COLUMNS, len(mistakes))
    width, height = WIDTH * columns + GAP, (WIDTH + CAPTION) * rows + GAP
    figure = Figure(figsize=(width, height))
    for number, (mistake, image) in enumerate(zip(mistakes, images, strict=True)):
        row, column = divmod(number, COLUMNS)
        left, top = WIDTH * column + GAP, height - (WIDTH + CAPTION) * row - GAP
        side = WIDTH - GAP
        axes = figure.add_axes((left / width, (top - side) / height, side / width, side / height))
        axes.set_axis_off()
        values = np.clip(np.asarray(image), 0, 255).astype("uint8")
        axes.imshow(values[..., 0] if values.shape[-1] == 1 else values, cmap="gray", vmin=0, vmax=255)
        truth, predicted, name = (
            shortened([text], LONGEST)[0] for text in (mistake.truth, f"→ {mistake.predicted}", mistake.name)
        )
        lines = ((truth, RIGHT), (predicted, WRONG), (name, NAME))
        for line, (text, color) in enumerate(lines):
            place = left / width, (top - side - LINE * line - GAP / 2) / height
            figure.text(*place, text, color=color, fontsize=7, va="top", parse_math=False)
    return figure
