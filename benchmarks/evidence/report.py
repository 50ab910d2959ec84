"""docs/comparison.md from the results: tables with paired 95 % intervals, the bars, and one picture."""

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


def outcomes(results, seeds=SEEDS):
    """All tasks and methods that have run with every one of these seeds."""
    found = []
    for task in TASKS:
        for method in METHODS:
            lines = {line["seed"]: line for line in results.of(task=task, method=method, stage="test")}
            if set(lines) >= set(seeds):
                accuracies = tuple(100 * lines[seed]["test"] for seed in seeds)
                seconds = float(np.mean([lines[seed]["cpu_seconds"] for seed in seeds]))
                rates = [lines[seed].get("chosen") or lines[seed]["learning_rate"] for seed in seeds]
                rate = None if None in rates else float(np.exp(np.mean(np.log(rates))))
                found.append(Outcome(task, method, rate, accuracies, seconds))
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
    lines = []
    for method, points in in_order(found).items():
        worst = max(points, key=points.get)
        values = list(points.values())
        lines.append([method, f"{np.mean(values):.1f}", f"{points[worst]:.1f}, {worst}", len(points)])
    return table(["method", "mean loss", "worst loss, and where", "tasks"], lines)


def accuracy_table(found):
    tasks = [task for task in TASKS if any(o.task == task for o in found)]
    best = {task: max((o for o in found if o.task == task), key=lambda o: o.mean).method for task in tasks}
    lines = []
    for method, of_task in by_method(found).items():
        cells = [f"{of_task[t].mean:.1f} ± {of_task[t].interval:.1f}" if t in of_task else "" for t in tasks]
        cells = [f"**{c}**" if best[t] == method else c for c, t in zip(cells, tasks, strict=True)]
        lines.append([method, *cells])
    return table(["", *tasks], lines)


def difference(first, second):
    """Points that `first` is better than `second`, seed by seed: mean and half of the 95 % interval."""
    points = np.subtract(first.accuracies, second.accuracies)
    return float(points.mean()), half_width(points)


def verdict(points, wide):
    return "no clear difference" if abs(points) <= wide else "better" if points > 0 else "worse"


def difference_table(found, ours="fine_tune"):
    """What ours gains over each method, task by task; clear is what the interval tells from 0."""
    methods = by_method(found)
    own = methods.get(ours, {})
    others = [method for method in methods if method != ours]
    lines = []
    for method in others:
        cells = []
        for task in own:
            if task not in methods[method]:
                cells.append("")
                continue
            points, wide = difference(own[task], methods[method][task])
            cells.append(f"{points:+.1f} ± {wide:.1f}: {verdict(points, wide)}")
        lines.append([method, *cells])
    return table([f"gain of {ours} over", *own], lines)


def over_tasks_table(found, ours="fine_tune"):
    """What ours gains over each method on the mean over tasks, with the interval over tasks."""
    methods = by_method(found)
    own, lines = methods.get(ours, {}), []
    for method, of_task in methods.items():
        points = [own[task].mean - of_task[task].mean for task in own if task in of_task]
        if method != ours and len(points) > 1:
            mean, wide = float(np.mean(points)), half_width(points)
            lines.append([method, f"{mean:+.1f} ± {wide:.1f}", verdict(mean, wide), len(points)])
    return table([f"gain of {ours} over", "mean over tasks", "", "tasks"], lines)


def bars_table(found):
    lost, lines = losses(found), []
    bars = {"fine_tune": (3, 6), "choice": (1, 3)}
    for method, limits in bars.items():
        points = list(lost.get(method, {}).values())
        if points:
            for name, limit, value in zip(("mean", "worst"), limits, (np.mean(points), max(points)), strict=True):
                lines.append(
                    [f"{method}: {name} loss", f"≤ {limit}", f"{value:.2f}", "yes" if value <= limit else "**no**"]
                )
    methods = by_method(found)
    uniform = methods.get("one rate", {})
    both = [task for task in methods.get("choice", {}) if task in uniform]
    if both:
        worst = min(np.subtract(methods["choice"][t].accuracies, uniform[t].accuracies).min() for t in both)
        met = "yes" if worst >= -5 else "**no**"
        lines.append(["choice: worst single seed against one rate", "≥ -5", f"{worst:.2f}", met])
    return table(["", "bar", "measured", "met"], lines)


def choice_table(results, found):
    """Task by task: whether the choice left the constants, what it gained and what it cost."""
    methods, lines = by_method(found), []
    for task, chosen in methods.get("choice", {}).items():
        if task not in methods.get("fine_tune", {}):
            continue
        constants, uniform = methods["fine_tune"][task], methods.get("one rate", {}).get(task)
        runs = [line for line in results.of(task=task, method="choice", stage="test") if line["seed"] in SEEDS]
        points, wide = difference(chosen, constants)
        left = sum(line["left_constants"] for line in runs)
        worst = "" if uniform is None else f"{np.subtract(chosen.accuracies, uniform.accuracies).min():+.1f}"
        search = f"{np.mean([line['search_runs'] for line in runs]):.1f}"
        whole = f"{chosen.seconds / constants.seconds:.1f}"
        lines.append([task, f"{left} of {len(SEEDS)}", f"{points:+.1f} ± {wide:.1f}", worst, search, whole])
    header = ["", "left the constants", "gain over fine_tune", "worst seed against one rate"]
    return table([*header, "search, in runs", "search and run, in CPU time of a run"], lines)


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
    """Which methods have not run on which tasks, in a sentence."""
    methods, said = by_method(found), []
    for name, method in METHODS.items():
        missing = [task for task in method.tasks or TASKS if task not in methods.get(name, {})]
        if missing:
            said.append(f"{name} ({'all' if len(missing) == len(method.tasks or TASKS) else ', '.join(missing)})")
    return f"Not measured yet: {'; '.join(said)}." if said else "All methods have run on all tasks."


def rate_table(found):
    tasks = [task for task in TASKS if any(o.task == task for o in found)]
    lines = []
    for method, of_task in by_method(found).items():
        cells = []
        for task in tasks:
            outcome = of_task.get(task)
            rate = "" if outcome is None or outcome.learning_rate is None else f"{outcome.learning_rate:.2g}; "
            cells.append("" if outcome is None else f"{rate}{outcome.seconds:.0f} s")
        lines.append([method, *cells])
    return table(["base rate; seconds a run", *tasks], lines)


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
        "bars": bars_table(found),
        "where it loses": where_it_loses(found),
        "choices": choice_table(results, found),
        "over tasks": over_tasks_table(found),
        "gains": difference_table(found),
        "accuracies": accuracy_table(found),
        "rates": rate_table(found),
        "not measured": not_measured(found),
        "tasks": "\n".join(f"- **{name}**: {task.title}, {task.epochs} epochs." for name, task in TASKS.items()),
        "methods": table(["method", ""], [[name, method.about] for name, method in METHODS.items()]),
        "seeds": str(len(SEEDS)),
    }.items():
        text = text.replace(f"{{{{ {name} }}}}", part)
    page = docs / "comparison.md"
    page.write_text(text)
    return page
