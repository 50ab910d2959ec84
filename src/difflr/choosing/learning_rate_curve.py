"""`LearningRateCurve`: the loss over the learning rate, and the four rates that the curve suggests."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from difflr.report import drawing
from difflr.text_table import ShownAsTable, TextTable, counted, text_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTHING = 0.98
SUGGESTIONS = {
    "valley": "the middle of the longest descent",
    "slide": "where the slope settles, from the right",
    "steep": "where the loss falls fastest",
    "minimum": "a tenth of the rate with the lowest loss",
}
SLIDE_WIDTH, SLIDE_THRESHOLD = 15, 0.005


@dataclasses.dataclass(frozen=True)
class LearningRateCurve(ShownAsTable):
    """The result of `difflr.find_learning_rate`: the loss at each rate, and four suggested rates.

    The four often differ by a factor of ten, and none is always right: look at the curve. All are base rates; `None` if
    the curve suggests none.

    Args:
        rates: The base rates, in increasing order.
        losses: The training loss of one step at each rate.
        num_steps: The planned number of steps. The sweep stops earlier if the loss diverges.

    Example:

    ```python
    import difflr

    curve = difflr.LearningRateCurve([1e-4, 1e-3, 1e-2, 1e-1], [2.3, 2.2, 1.5, 9.0], num_steps=4)
    print(curve.minimum)  # 0.001
    ```

    Reference: fastai's `lr_find` and its suggestions (`callback/schedule.py`); Smith, "Cyclical Learning Rates for
    Training Neural Networks" (WACV 2017).
    """

    rates: list[float]
    losses: list[float]
    num_steps: int

    @property
    def smoothed(self) -> list[float]:
        """The losses as an exponential moving average with weight 0.98, corrected for its bias toward 0."""
        average, smoothed = 0.0, []
        for count, loss in enumerate(self.losses, start=1):
            average = SMOOTHING * average + (1 - SMOOTHING) * loss
            smoothed.append(average / (1 - SMOOTHING**count))
        return smoothed

    @property
    def valley(self) -> float | None:
        """The rate in the middle of the longest descent of the loss."""
        rates, losses = self._telling()
        lengths = [1] * len(losses)
        for later in range(len(losses)):
            for earlier in range(later):
                if losses[later] < losses[earlier]:
                    lengths[later] = max(lengths[later], lengths[earlier] + 1)
        if max(lengths, default=1) == 1:
            return None
        end = int(np.argmax(lengths))
        third = lengths[end] / 3
        return float(rates[end - lengths[end] + int(third) + int(third / 2)])

    @property
    def slide(self) -> float | None:
        """Coming from the right, the first rate at which the slope equals that 15 points to its left."""
        rates, losses = self._telling()
        if len(losses) < 3:
            return None
        slopes, width = np.gradient(losses), min(SLIDE_WIDTH, len(losses) - 1)
        right, found = len(losses) - 1, len(losses) - 1 - width
        while right - width >= 0 and abs(slopes[right] - slopes[right - width]) > SLIDE_THRESHOLD:
            found, right = right - width, right - 1
        return float(rates[found])

    @property
    def steep(self) -> float | None:
        """The rate at which the loss falls fastest over the logarithm of the rate."""
        rates, losses = self._telling()
        slopes = np.diff(losses) / np.diff(np.log(rates)) if len(losses) > 1 else np.array([])
        return float(rates[np.argmin(slopes)]) if len(slopes) and slopes.min() < 0 else None

    @property
    def minimum(self) -> float | None:
        """A tenth of the rate at which the loss is lowest."""
        rates, losses = self._telling()
        return float(rates[np.argmin(losses)]) / 10 if len(losses) > 1 else None

    @property
    def suggestions(self) -> dict[str, float | None]:
        """The four suggestions, by name."""
        return {name: getattr(self, name) for name in SUGGESTIONS}

    def _telling(self) -> tuple[np.ndarray, np.ndarray]:
        """Rates and smoothed losses, without the start, the last five points, and everything after a NaN."""
        finite = next((n for n, loss in enumerate(self.losses) if not math.isfinite(loss)), len(self.losses))
        part = slice(self.num_steps // 10, len(self.losses) - 5)
        if len(self.losses[:finite][part]) < 3:  # a short curve: use all of it
            part = slice(0, finite)
        part = slice(part.start, min(part.stop, finite))
        rates, losses = np.array(self.rates[part]), np.array(self.smoothed[part])
        return (rates[:0], losses[:0]) if np.allclose(losses, losses[:1], rtol=1e-9, atol=0) else (rates, losses)

    def plot(self, axes: "Axes | None" = None) -> "Axes":
        """Draws the curve with its suggestions.

        Args:
            axes: The matplotlib axes to draw on. By default new ones, of a new figure.

        Raises:
            ImportError: If matplotlib is not installed.
        """
        own_figure = axes is None
        axes = drawing.new_axes() if axes is None else axes
        styles = drawing.line_styles(1 + len(SUGGESTIONS))
        handles, names = [axes.plot(self.rates, self.smoothed, **styles[0])[0]], ["loss, smoothed"]
        for (name, rate), style in zip(self.suggestions.items(), styles[1:], strict=True):
            if rate is not None:
                handles.append(axes.axvline(rate, color=style["color"], linestyle="--", linewidth=1))
                names.append(f"{name} {rate:.2g}")
        axes.set_xscale("log")
        finite = [loss for loss in self.smoothed if math.isfinite(loss)]
        if finite:
            axes.set_ylim(min(finite) - 0.05 * abs(min(finite)), max(finite[0], min(finite)) * 1.5 + 1e-6)
        axes.set_xlabel("learning rate")
        axes.set_ylabel("training loss")
        drawing.horizontal_grid(axes)
        drawing.legend(axes, handles, names, own_figure)
        return axes

    def __str__(self) -> TextTable:
        lines = [
            [name, "-" if rate is None else f"{rate:.2g}", SUGGESTIONS[name]] for name, rate in self.suggestions.items()
        ]
        found = [rate for rate in self.suggestions.values() if rate is not None]
        footer = (
            f"{len(self.rates)} of {counted(self.num_steps, 'step')}, from {self.rates[0]:.1g} to {self.rates[-1]:.1g}"
        )
        if not found:
            footer += "; the loss never falls, or is NaN: this curve suggests no rate"
        elif max(found) > 3 * min(found):
            footer += f"; the suggestions differ by a factor of {max(found) / min(found):.0f}: look at `plot()`"
        return text_table(["suggestion", "rate", "meaning"], lines, {0, 2}, footer)
