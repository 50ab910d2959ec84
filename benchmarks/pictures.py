"""The numbers as pictures: Okabe and Ito's colors, and a marker and a dash for each line as well."""

from pathlib import Path
from typing import Any

from benchmarks import tables

LOOKS = {
    "difflr": ("#0072B2", "o", "-"),
    "MultiOptimizer": ("#D55E00", "s", "--"),
    "optax.partition": ("#009E73", "^", "-."),
    "torch.optim foreach": ("#CC79A7", "D", "-."),
    "torch.optim fused": ("#000000", "v", ":"),
}
GRAY = "#767676"


def draw(device: dict[str, Any], file: Path) -> Path | None:
    """Draws step time against the number of groups: a column for each way to run, a row for each model."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
    from matplotlib import pyplot

    found = [row for _, rows in tables.results_of(device, "steps") for row in rows if "ratio" in row]
    modes = list(dict.fromkeys(row["mode"] for row in found))
    if not modes:
        return None
    size = (3.1 * len(modes) + 0.6, 6.1)
    figure, axes = pyplot.subplots(
        len(tables.MODELS), len(modes), figsize=size, squeeze=False, layout="constrained", sharex=True
    )
    labels: dict[str, Any] = {}
    for line, model in zip(axes, tables.MODELS, strict=True):
        line[0].set_ylabel("one step, ms")
        for axis, mode in zip(line, modes, strict=True):
            lines_against_groups(axis, [row for row in found if row["mode"] == mode and row["model"] == model])
            axis.set_title(f"{tables.MODES[mode]}, {model}", fontsize=10)
            handles, names = axis.get_legend_handles_labels()
            labels = dict(zip(names, handles, strict=True)) | labels
    for axis in axes[-1]:
        axis.set_xlabel("groups of variables")
    columns = min(len(labels), 2 * len(modes))
    figure.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=columns, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150, bbox_inches="tight")
    return file


def lines_against_groups(axis: Any, rows: list[dict[str, Any]]) -> None:
    """One line a contender; each point is stock's median times the contender's paired ratio."""
    from statistics import median

    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

    stock = median(row["stock_seconds"]["median"] for row in rows) * 1e3
    axis.axhline(stock, color=GRAY, linewidth=1.5, label="stock Keras, one rate")
    for name, (color, marker, dash) in LOOKS.items():
        points = sorted((row["groups"], row["ratio"]["median"] * stock) for row in rows if row["name"] == name)
        if points:
            axis.plot(*zip(*points, strict=True), color=color, marker=marker, linestyle=dash, label=name, markersize=5)
    axis.set(xscale="log", yscale="log")
    axis.set_xticks([1, 12, 150], ["1", "12", "150"])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.set_minor_formatter(NullFormatter())
    widen(axis)
    axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)


def widen(axis: Any) -> None:
    """Shows at least a factor of four, so that noise does not look like a difference."""
    low, high = axis.get_ylim()
    if high / low < 4:
        middle = (low * high) ** 0.5
        axis.set_ylim(middle / 2, middle * 2)
