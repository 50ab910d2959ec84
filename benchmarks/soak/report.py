"""docs/soak.md from the lines that the workers wrote."""

import json
import statistics
from pathlib import Path

import numpy as np

from benchmarks.settings import BACKENDS

TEMPLATE = Path(__file__).with_name("page.md")
NAMES = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "torch"}
COLORS = {"jax": ("#0072B2", "-"), "tensorflow": ("#D55E00", "--"), "torch": ("#009E73", "-.")}
MEGABYTE = 2**20


def write(docs):
    """Writes the page and its picture from all runs in `docs`/measured/soak."""
    runs = {name: docs / "measured" / "soak" / f"{name}.jsonl" for name in BACKENDS}
    runs = {name: list(map(json.loads, file.read_text().splitlines())) for name, file in runs.items() if file.exists()}
    draw(runs, docs / "images" / "soak.png")
    page = docs / "soak.md"
    page.write_text(TEMPLATE.read_text().replace("{{ table }}", table(runs)))
    return page


def table(runs):
    rows = [
        "| backend | steps | changes of phase | memory growth | step: last third / second third |",
        "|---|---|---|---|---|",
    ]
    for name, lines in runs.items():
        found = numbers(lines)
        rows.append(
            f"| {NAMES[name]} | {found['steps']:,} | {found['changes']} | {found['growth_per_hour']:+.1f} MB an hour "
            f"| {', '.join(f'{ratio:.2f} ({trainable})' for trainable, ratio in found['step_ratios'].items())} |"
        )
    return "\n".join(rows)


def numbers(lines):
    """What the page tells of one run.

    The first third is warming up. Steps are compared within what is trainable: the median of the second third, and of the
    last.
    """
    total = lines[-1]["minutes"]
    second = [line for line in lines if total / 3 <= line["minutes"] < 2 * total / 3]
    last = [line for line in lines if line["minutes"] >= 2 * total / 3]
    minutes = [line["minutes"] for line in second + last]
    memory = [line["resident_bytes"] / MEGABYTE for line in second + last]
    return {
        "steps": sum(line["steps"] for line in lines),
        "changes": sum(line["first"] for line in lines) - 1,
        "growth_per_hour": 60 * float(np.polyfit(minutes, memory, 1)[0]),
        "step_ratios": step_ratios(second, last),
    }


def step_ratios(earlier, later):
    """For each trainable set that both have: the time of a step later, divided by that earlier."""
    before, after = (step_seconds(lines) for lines in (earlier, later))
    return {trainable: after[trainable] / before[trainable] for trainable in before if trainable in after}


def step_seconds(lines):
    """For each trainable set the median, without the epochs in which it was compiled."""
    found = {}
    for line in lines:
        if not line["first"]:
            found.setdefault(line["trainable"], []).append(line["step_seconds"])
    return {trainable: statistics.median(times) for trainable, times in found.items()}


def draw(runs, file):
    """Memory and step time over the run."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(7, 5.2), sharex=True, layout="constrained")
    for name, lines in runs.items():
        color, dash = COLORS[name]
        look = {"color": color, "linestyle": dash, "linewidth": 1.2}
        minutes = [line["minutes"] for line in lines]
        above.plot(minutes, [line["resident_bytes"] / MEGABYTE for line in lines], label=NAMES[name], **look)
        whole = [line for line in lines if line["trainable"] == "everything" and not line["first"]]
        below.plot([line["minutes"] for line in whole], [1e3 * line["step_seconds"] for line in whole], **look)
    above.set(ylabel="memory, MB", ylim=(0, None))
    below.set(ylabel="one step with everything trainable,\nms of processor time", xlabel="minutes", ylim=(0, None))
    above.legend(frameon=False)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)
