"""`DataSummary`: what a report shows of the data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from difflr.report.thumbnail import thumbnail

MOST_IMAGES = 24


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """The data, as a report shows it.

    Args:
        counts: Class -> its number of examples in each part.
        parts: The names of the parts, such as training and validation.
        skipped: Pairs of a file or row that could not be read and the reason.
        notes: Other changes of the data.
        images: Some training images as the network sees them, values 0..255.
        caption: The caption of these images.
    """

    counts: Mapping[str, Sequence[int]]
    parts: Sequence[str] = ("training", "validation")
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    images: Sequence[np.ndarray] = ()
    caption: str = "Images as the network sees them while it trains."

    def as_section(self) -> dict[str, Any]:
        """The data for the template."""
        longest = max((sum(numbers) for numbers in self.counts.values()), default=0) or 1
        return {
            "parts": self.parts,
            "lines": [
                {"name": name, "numbers": numbers, "widths": [round(100 * n / longest, 1) for n in numbers]}
                for name, numbers in self.counts.items()
            ],
            "skipped": dict(self.skipped),
            "notes": self.notes,
            "images": [thumbnail(image) for image in self.images[:MOST_IMAGES]],
            "caption": self.caption,
        }
