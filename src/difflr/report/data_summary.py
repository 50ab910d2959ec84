"""`DataSummary`: what a report shows of the data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from difflr.report.thumbnail import thumbnail

MOST_PICTURES = 24


@dataclasses.dataclass(frozen=True)
class DataSummary:
    """What a report shows of the data.

    Args:
        counts: Class -> how many examples it has in each part.
        parts: The names of the parts.
        skipped: Pairs of what could not be read, and why.
        notes: What else was done to the data.
        pictures: Some pictures as the network sees them while it trains, values 0..255.
        caption: What these pictures are.
    """

    counts: Mapping[str, Sequence[int]]
    parts: Sequence[str] = ("training", "validation")
    skipped: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()
    pictures: Sequence[np.ndarray] = ()
    caption: str = "Pictures as the network sees them while it trains."

    def as_section(self) -> dict[str, Any]:
        """What the template shows."""
        longest = max((sum(numbers) for numbers in self.counts.values()), default=0) or 1
        return {
            "parts": self.parts,
            "lines": [
                {"name": name, "numbers": numbers, "widths": [round(100 * n / longest, 1) for n in numbers]}
                for name, numbers in self.counts.items()
            ],
            "skipped": dict(self.skipped),
            "notes": self.notes,
            "pictures": [thumbnail(picture) for picture in self.pictures[:MOST_PICTURES]],
            "caption": self.caption,
        }
