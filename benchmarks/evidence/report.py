"""docs/comparison.md from the results: one table with 95 % intervals, and one picture."""

import dataclasses
import textwrap
from pathlib import Path

import numpy as np

from benchmarks.evidence.methods import METHODS
from benchmarks.evidence.runs import SEEDS
from benchmarks.evidence.tasks import TASKS

TEMPLATE = Path(__file__).with_name("page.md")
# Student's t: 97.5 % of the distribution lie below, for 1, 2, ... degrees of freedom
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
OURS = ("fine_tune", "choice")
BASELINES = ("one rate", "one rate, head first", "head only")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a method reached on a task: the test accuracy in % for each seed, in the order of the seeds."""

    task: str
    method: str
    accuracies: tuple[float, ...]

    @property
    def mean(self):
        return float(np.mean(self.accuracies))


def half_width(values):
    """Half of the 95 % interval of the mean, by the t distribution."""
    return float(STUDENT[len(values) - 2] * np.std(values, ddof=1) / np.sqrt(len(values)))


def outcomes(results, seeds=SEEDS):
    """All tasks and methods that have run with every one of these seeds."""
    found = []
    for task in TASKS:
        for method in METHODS:
            lines = {line["seed"]: line for line in results.of(task=task, method=method, stage="test")}
            if set(lines) >= set(seeds):
                found.append(Outcome(task, method, tuple(100 * lines[seed]["test"] for seed in seeds)))
    return found


def by_method(found):
    """Method -> task -> outcome, in the order of the methods."""
    return {m: {o.task: o for o in found if o.method == m} for m in METHODS if any(o.method == m for o in found)}


def best_by_hand(found):
    """Task -> the outcome of the best method whose rate was searched by hand: by its mean on the test, which flatters it."""
    searched = [outcome for outcome in found if METHODS[outcome.method].by_hand]
    return {
        task: max((o for o in searched if o.task == task), key=lambda o: o.mean)
        for task in TASKS
        if any(o.task == task for o in searched)
    }


def losses(found):
    """Method -> task -> points below the best by hand; negative where it is better."""
    best = best_by_hand(found)
    return {
        method: {task: best[task].mean - outcome.mean for task, outcome in of_task.items() if task in best}
        for method, of_task in by_method(found).items()
    }


def in_order(found):
    """The methods that have run on every task first, then by mean loss."""
    lost = {method: points for method, points in losses(found).items() if points}
    return dict(sorted(lost.items(), key=lambda item: (-len(item[1]), np.mean(list(item[1].values())))))


def table(header, lines):
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def loss_table(found):
    own = by_method(found)["fine_tune"]
    lines = []
    for method, points in in_order(found).items():
        worst, values = max(points, key=points.get), list(points.values())
        gains = [own[task].mean - outcome.mean for task, outcome in by_method(found)[method].items() if task in own]
        gain = "" if method == "fine_tune" or len(gains) < 2 else f"{np.mean(gains):+.1f} ± {half_width(gains):.1f}"
        loss = [f"{np.mean(values):.1f}", f"{points[worst]:.1f} ({worst})"]
        lines.append([method, METHODS[method].about, *loss, gain])
    return table(["method", "how", "mean loss", "worst loss (task)", "gain of `fine_tune` over it"], lines)


def difference(first, second):
    """Points that `first` is better than `second`, seed by seed: mean and half of the 95 % interval."""
    points = np.subtract(first.accuracies, second.accuracies)
    return float(points.mean()), half_width(points)


def where_it_loses(found, ours="fine_tune"):
    best, own, lines = best_by_hand(found), by_method(found).get(ours, {}), []
    for task, outcome in own.items():
        points, wide = difference(outcome, best[task])
        if points < 0:
            unclear = "" if -points > wide else ", within the noise"
            lines.append(
                (points, f"- **{task}**: {-points:.1f} ± {wide:.1f} points below {best[task].method}{unclear}.")
            )
    return "\n".join(line for _, line in sorted(lines)) or "Nowhere, to the best by hand."


def not_measured(found):
    """Which methods have not run on which tasks, in sentences."""
    methods, groups = by_method(found), {}
    for name, method in METHODS.items():
        tasks = method.tasks or TASKS
        missing = [task for task in tasks if task not in methods.get(name, {})]
        if missing:
            where = "" if len(missing) == len(tasks) else " on " + ", ".join(f'"{task}"' for task in missing)
            groups.setdefault(where, []).append(name)
    return " ".join(f"Not measured{where}: {'; '.join(names)}." for where, names in groups.items())


def conclusion(found):
    """What comes out, in two sentences."""
    lost = in_order(found)
    own = lost["fine_tune"]
    rivals = {m: np.mean(list(p.values())) for m, p in lost.items() if len(p) == len(own) and METHODS[m].by_hand}
    rival = min(rivals, key=rivals.get)
    mean = np.mean(list(own.values()))
    worst = max(own.values())
    return (
        f"fine_tune searches nothing. On {len(own)} tasks it ends on average {_beside(mean)} the best hand-tuned method of "
        f'each, at worst {_beside(worst)} it. The best single hand-tuned method, "{rival}", ends {_beside(rivals[rival])}'
    )


def _beside(lost):
    return f"{abs(lost):.1f} points {'below' if lost > 0 else 'above'}"


def draw(found, file):
    """A row a method, a small dot a task: points below the best hand-tuned method of the task; the mean is large."""
    from matplotlib.figure import Figure

    rows = in_order(found)
    figure = Figure(figsize=(9, 0.45 * len(rows) + 1.9), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, (method, points) in enumerate(rows.items()):
        color = "#0072B2" if method in OURS else "#767676" if method in BASELINES else "#D55E00"
        values = list(points.values())
        axes.plot(values, [place] * len(values), "o", color=color, alpha=0.35, ms=5, mew=0)
        axes.plot(np.mean(values), place, "D", color=color, ms=8)
    axes.axvline(0, color="#333333", lw=1)
    partial = {
        m: f" ({len(p)} {'task' if len(p) == 1 else 'tasks'})" if len(p) < len(TASKS) else "" for m, p in rows.items()
    }
    axes.set_yticks(range(len(rows)), [method + partial[method] for method in rows])
    axes.invert_yaxis()
    axes.set_xlabel("points of test accuracy below the best hand-tuned method of the task (left is better)")
    figure.suptitle(textwrap.fill(conclusion(found), 105), fontsize=10, x=0.01, ha="left")
    axes.grid(axis="x", color="#DDDDDD")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    return file


def write(results, docs):
    """Writes the page and its picture."""
    found = outcomes(results)
    if not any(o.method == "fine_tune" for o in found) or not best_by_hand(found):
        raise ValueError(f"No task has run with all seeds yet. Received: {len(results.lines)} lines of {results.file}.")
    draw(found, docs / "images" / "comparison.png")
    text = TEMPLATE.read_text()
    for name, part in {
        "conclusion": conclusion(found),
        "losses": loss_table(found),
        "where it loses": where_it_loses(found),
        "not measured": not_measured(found),
        "tasks": "\n".join(f"- **{name}**: {task.title}, {task.epochs} epochs." for name, task in TASKS.items()),
        "seeds": str(len(SEEDS)),
    }.items():
        text = text.replace(f"{{{{ {name} }}}}", part)
    page = docs / "comparison.md"
    page.write_text(text)
    return page
