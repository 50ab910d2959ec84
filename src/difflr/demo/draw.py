"""The demo's plot: the accuracy of each method, and the learning rate of each layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from difflr.demo.compare import Outcome
from difflr.files import whole_file
from difflr.text_table import counted

# Okabe and Ito's color-blind-safe colors; markers differ too.
LOOKS = [("#D55E00", "s"), ("#767676", "D"), ("#0072B2", "o"), ("#009E73", "^")]
INK, FAINT = "#222222", "#DDDDDD"


def draw(outcomes: Sequence[Outcome], path: Path, samples: np.ndarray, footnote: str) -> Path:
    """Draw and save the plot.

    Args:
        outcomes: What `run_comparison` returned.
        path: The PNG file to write.
        samples: A few images to show, `(count, 28, 28, 1)` uint8.
        footnote: One or two lines at the bottom.

    Returns:
        `path`.
    """
    figure = Figure(figsize=(11.5, 5.6), dpi=150, facecolor="white")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.15))
    figure.subplots_adjust(left=0.075, right=0.975, top=0.74, bottom=0.2, wspace=0.24)
    figure.text(0.03, 0.945, headline(outcomes), fontsize=16, fontweight="bold", color=INK, va="center")
    _strip(figure, samples)
    _draw_accuracies(left, outcomes)
    _draw_rates(right, outcomes)
    figure.text(0.03, 0.035, footnote, fontsize=8, linespacing=1.5, color="#555555", va="center")
    with whole_file(path) as unfinished:
        figure.savefig(unfinished)
    return path


def headline(outcomes: Sequence[Outcome]) -> str:
    """The result of the comparison in one line, also if the last method, the plan, does not win.

    A difference counts if it exceeds two standard errors.

    Args:
        outcomes: The result of `run_comparison`, with the plan last.
    """
    *others, plan = outcomes
    rival = max(others, key=lambda outcome: outcome.mean)
    points = 100 * (plan.mean - rival.mean)
    standard_error = 100 * np.hypot(plan.spread, rival.spread) / np.sqrt(len(plan.runs))
    if abs(points) <= 2 * standard_error:
        return f"Rates {plan.method.name}, {rival.method.name}: no clear difference"
    comparison = "more" if points > 0 else "fewer"
    return f"Rates {plan.method.name}: {abs(points):.1f} points {comparison} than {rival.method.name}"


def _strip(figure: Figure, samples: np.ndarray) -> None:
    """The samples in a row, dark strokes on white, at the top."""
    axes = figure.add_axes((0.03, 0.83, 0.04 * len(samples), 0.075))
    axes.imshow(255 - np.concatenate(list(samples[..., 0]), axis=1), cmap="gray", vmin=0, vmax=255, aspect="equal")
    axes.set_anchor("W")
    axes.axis("off")


def _draw_accuracies(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """One column per method: a dot per seed, with mean and spread next to them."""
    for position, (outcome, (color, marker)) in enumerate(zip(outcomes, LOOKS, strict=False)):
        values = 100 * np.array(outcome.accuracies)
        places = position - 0.12 + (np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else np.zeros(1))
        axes.plot(places, values, marker, color=color, markersize=7, alpha=0.65, mew=0)
        mean, spread = 100 * outcome.mean, 100 * outcome.spread
        axes.errorbar(position + 0.17, mean, spread, fmt="_", color=color, ms=18, mew=2.5, lw=1.8, capsize=4)
        above: dict[str, Any] = {"xytext": (0, 11), "textcoords": "offset points", "ha": "center"}
        look: dict[str, Any] = {"fontsize": 12, "fontweight": "bold", "color": color}
        axes.annotate(f"{mean:.1f} %", (position, max(mean + spread, *values)), **above, **look)
    names = [f"{outcome.method.name}\n(base rate {outcome.learning_rate:g})" for outcome in outcomes]
    axes.set_xticks(range(len(outcomes)), names, fontsize=10)
    axes.set_xlim(-0.5, len(outcomes) - 0.5)
    axes.margins(y=0.25)  # room for the numbers above
    _title(axes, f"Test accuracy in % ({counted(len(outcomes[0].runs), 'seed')}, mean ± standard deviation)")


def part_rates(rates: dict[str, float]) -> dict[str, float]:
    """Part, such as `"fire2"` or `"head"`, -> effective rate (highest in it, 0 if frozen), in the order of the model."""
    parts: dict[str, float] = {}
    for path, rate in rates.items():
        part = path.split("/")[-2].split("_")[0]
        parts[part] = max(rate, parts.get(part, 0.0))
    return parts


def _draw_rates(axes: Axes, outcomes: Sequence[Outcome]) -> None:
    """The initial effective rate of every part, from input to head; frozen parts on a separate line."""
    trainable = [rate for outcome in outcomes for rate in outcome.rates.values() if rate]
    floor = 10 ** (np.floor(np.log10(min(trainable))) - 0.35)
    axes.set_yscale("log")
    for outcome, (color, marker) in zip(outcomes, LOOKS, strict=False):
        rates = part_rates(outcome.rates)
        heights = np.array(list(rates.values()))
        places = np.arange(len(rates))
        frozen = heights == 0
        look: dict[str, Any] = {"color": color, "marker": marker, "ms": 7, "lw": 1.8}
        axes.plot(places[frozen], np.full(frozen.sum(), floor), **look, mfc="white", ls=":")
        axes.plot(places[~frozen], heights[~frozen], **look, label=outcome.method.name)
    parts = list(part_rates(outcomes[0].rates))
    axes.set_xticks(range(len(parts)), parts, fontsize=9.5)
    axes.set_xlabel("input  →  parts of the network  →  output", fontsize=9.5, color="#555555")
    axes.set_ylim(floor / 2, 3 * max(trainable))
    if any(rate == 0 for outcome in outcomes for rate in outcome.rates.values()):
        axes.annotate("frozen", (0.25, floor), xytext=(0, 7), textcoords="offset points", fontsize=9.5, color="#555555")
    axes.legend(loc="upper left", frameon=False, fontsize=10)
    _title(axes, "Learning rate of each part, at the start")


def _title(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", pad=10)
    axes.grid(axis="y", color=FAINT)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, which="both")
    axes.set_axisbelow(True)
