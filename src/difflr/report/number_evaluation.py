"""`NumberEvaluation`: numbers, as in regression."""

import functools

import numpy as np

from difflr.report import drawing
from difflr.report.measured import Measured, Mistake, Plot, ratio


class NumberEvaluation(Measured):
    """Numbers: `y` and `scores` are `(n, num_outputs)`."""

    columns = "outputs"

    @functools.cached_property
    def measures(self) -> dict[str, np.ndarray]:
        """MAE, RMSE and R² of each output, and the range of the answers."""
        errors = self.scores - self.y
        spread = ((self.y - self.y.mean(0)) ** 2).sum(0)
        return {
            "mae": np.abs(errors).mean(0),
            "rmse": np.sqrt((errors**2).mean(0)),
            "r2": 1 - ratio((errors**2).sum(0), spread),
            "lowest": self.y.min(0),
            "highest": self.y.max(0),
        }

    def numbers(self) -> dict[str, float]:
        """The means over the outputs."""
        return {name: float(self.measures[name].mean()) for name in ("mae", "rmse", "r2")}

    def sentence(self) -> str:
        """How far off it is."""
        numbers = self.numbers()
        known = "" if np.isnan(numbers["r2"]) else f", R² {numbers['r2']:.3f}"
        return f"Mean absolute error {numbers['mae']:.4g}, root mean square error {numbers['rmse']:.4g}{known}"

    def table(self) -> tuple[list[str], list[list[str]]]:
        """A row for each output."""
        rows = [
            [name, *(f"{values[number]:.4g}" for values in self.measures.values())]
            for number, name in enumerate(self.class_names)
        ]
        return ["output", "MAE", "RMSE", "R²", "lowest", "highest"], rows

    def all_mistakes(self) -> list[Mistake]:
        """Every example; the worse the further off, in standard deviations of the answers."""
        spread = self.y.std(0)
        distance = (np.abs(self.scores - self.y) / np.where(spread > 0, spread, 1)).max(1)
        return [
            Mistake(position, name, _numbers(truth), _numbers(predicted), float(badness))
            for position, (name, truth, predicted, badness) in enumerate(
                zip(self.names, self.y, self.scores, distance, strict=True)
            )
            if badness > 0
        ]

    def plots(self) -> list[Plot]:
        """Prediction against answer."""
        return [Plot("predicted", "Predictions against the answers; on the line they are right", self._draw, 4.2)]

    def _draw(self, axes: drawing.Axes) -> None:
        handles = []
        for number, style in zip(range(len(self.class_names)), drawing.line_styles(len(self.class_names)), strict=True):
            points = self.y[:, number], self.scores[:, number]
            handles.append(axes.scatter(*points, s=12, alpha=0.6, color=style["color"], linewidth=0))
        low, high = min(self.y.min(), self.scores.min()), max(self.y.max(), self.scores.max())
        axes.plot([low, high], [low, high], color=drawing.GRAY, linestyle="--", linewidth=1)
        axes.set_xlabel("answer")
        axes.set_ylabel("prediction")
        if len(handles) > 1:
            drawing.legend(axes, handles, self.class_names, True)


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
