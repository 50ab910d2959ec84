"""docs/comparison.md from the results: tables with 95 % intervals, and a picture."""

import dataclasses
from pathlib import Path

import numpy as np

from benchmarks.comparison.methods import METHODS
from benchmarks.comparison.pairs import PAIRS
from benchmarks.comparison.runs import SEEDS

TEMPLATE = Path(__file__).with_name("page.md")
# Student's t: 97.5 % of the distribution lie below, for 1, 2, ... degrees of freedom
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
BASELINES = ("one rate", "head only")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method reached on a pair: the test accuracy in % for each seed, in the order of the seeds."""

    pair: str
    method: str
    learning_rate: float | None
    accuracies: tuple[float, ...]
    seconds: float

    @property
    def mean(self):
        return float(np.mean(self.accuracies))

    @property
    def interval(self):
        return half_width(self.accuracies)


def half_width(values):
    """Half of the 95 % interval of the mean, by the t distribution."""
    return float(STUDENT[len(values) - 2] * np.std(values, ddof=1) / np.sqrt(len(values)))


def outcomes(results):
    """All pairs and methods that have run with every seed."""
    found = []
    for pair in PAIRS:
        for method in METHODS:
            lines = {line["seed"]: line for line in results.of(pair=pair, method=method, stage="test")}
            if set(lines) >= set(SEEDS):
                accuracies = tuple(100 * lines[seed]["test"] for seed in SEEDS)
                seconds = float(np.mean([lines[seed]["cpu_seconds"] for seed in SEEDS]))
                rate = lines[SEEDS[0]]["learning_rate"]
                found.append(Outcome(pair, method, rate, accuracies, seconds))
    return found


def by_method(found):
    """Method -> pair -> outcome, in the order of the page."""
    return {m: {o.pair: o for o in found if o.method == m} for m in METHODS if any(o.method == m for o in found)}


def accuracy_table(found):
    pairs = [pair for pair in PAIRS if any(o.pair == pair for o in found)]
    best = {pair: max((o for o in found if o.pair == pair), key=lambda o: o.mean).method for pair in pairs}
    lines = ["| | " + " | ".join(pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
    for method, of_pair in by_method(found).items():
        cells = []
        for pair in pairs:
            text = "" if pair not in of_pair else f"{of_pair[pair].mean:.1f} ± {of_pair[pair].interval:.1f}"
            cells.append(f"**{text}**" if best[pair] == method else text)
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(first, second):
    """Points that `first` is better than `second`, seed by seed: mean and half of the 95 % interval."""
    points = np.subtract(first.accuracies, second.accuracies)
    return float(points.mean()), half_width(points)


def difference_table(found, baseline):
    """What each method gains over a baseline; clear is what the interval tells from 0."""
    table = by_method(found)
    pairs = [pair for pair in PAIRS if pair in table.get(baseline, {})]
    lines = [f"| gain over {baseline} | " + " | ".join(pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
    for method, of_pair in table.items():
        if method == baseline:
            continue
        cells = []
        for pair in pairs:
            if pair not in of_pair:
                cells.append("")
                continue
            points, wide = difference(of_pair[pair], table[baseline][pair])
            verdict = "no clear difference" if abs(points) <= wide else "better" if points > 0 else "worse"
            cells.append(f"{points:+.1f} ± {wide:.1f}: {verdict}")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def rate_table(found):
    table = by_method(found)
    pairs = [pair for pair in PAIRS if any(o.pair == pair for o in found)]
    lines = ["| base rate; seconds a run | " + " | ".join(pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
    for method, of_pair in table.items():
        cells = []
        for pair in pairs:
            if pair not in of_pair:
                cells.append("")
                continue
            rate = of_pair[pair].learning_rate
            cells.append(f"{'default' if rate is None else f'{rate:g}'}; {of_pair[pair].seconds:.0f} s")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found, file):
    """Every seed as a dot, and mean and 95 % interval beside them; a panel for each pair."""
    from matplotlib.figure import Figure

    pairs = [pair for pair in PAIRS if any(o.pair == pair for o in found)]
    methods = list(by_method(found))
    figure = Figure(figsize=(3.6 * len(pairs) + 1.2, 0.42 * len(methods) + 1.5), dpi=130, layout="constrained")
    panels = figure.subplots(1, len(pairs), sharey=True, squeeze=False)[0]
    for axes, pair in zip(panels, pairs, strict=True):
        for outcome in (o for o in found if o.pair == pair):
            place = methods.index(outcome.method)
            colour = "#767676" if outcome.method in BASELINES else "#0072B2"
            axes.plot(outcome.accuracies, [place + 0.17] * len(SEEDS), "o", color=colour, alpha=0.35, ms=4, mew=0)
            axes.errorbar(outcome.mean, place - 0.08, xerr=outcome.interval, fmt="o", color=colour, ms=6, capsize=3)
        axes.set_title(PAIRS[pair].title.replace(" → ", " →\n"), fontsize=10, loc="left")
        axes.set_xlabel("test accuracy in %")
        axes.grid(axis="x", color="#DDDDDD")
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(length=0)
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].invert_yaxis()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    return file


def write(results, docs):
    """Writes the page and its picture."""
    found = outcomes(results)
    if not found:
        raise ValueError(f"No pair has run with all seeds yet. Received: {len(results.lines)} lines of {results.file}.")
    draw(found, docs / "images" / "comparison.png")
    text = TEMPLATE.read_text()
    for name, table in {
        "accuracies": accuracy_table(found),
        "gain over one rate": difference_table(found, "one rate"),
        "gain over head only": difference_table(found, "head only"),
        "rates": rate_table(found),
        "pairs": "\n".join(f"- **{name}**: {pair.title}, {pair.epochs} epochs." for name, pair in PAIRS.items()),
    }.items():
        text = text.replace(f"{{{{ {name} }}}}", table)
    page = docs / "comparison.md"
    page.write_text(text)
    return page
