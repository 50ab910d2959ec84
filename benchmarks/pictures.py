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


def draw_all(device: dict[str, Any], folder: Path, name: str) -> dict[str, str]:
    """Draws what there are numbers for; the files' names by picture."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"font.size": 10, "svg.fonttype": "path", "axes.spines.top": False})
    matplotlib.rcParams["axes.spines.right"] = False
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    for picture, draw in {"steps": steps, "compiling": compiling, "frozen": frozen}.items():
        figure = draw(device)
        if figure is not None:
            drawn[picture] = f"cost-{picture}-{name}.png"
            figure.savefig(folder / drawn[picture], dpi=150, bbox_inches="tight")
    return drawn


def panels(rows: int, columns: int) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        rows, columns, figsize=(3.1 * columns + 0.6, 2.7 * rows + 0.7), squeeze=False, layout="constrained", sharex=True
    )
    return figure, axes


def steps(device: dict[str, Any]) -> Any:
    """Step time against the number of groups: a column for each way to run, a row for each model."""
    columns = [(mode, rows) for _, rows in tables.results_of(device, "steps") for mode in modes_of(rows)]
    if not columns:
        return None
    figure, axes = panels(len(tables.PARAMETERS), len(columns))
    for column, (mode, rows) in enumerate(columns):
        for line, model in enumerate(tables.PARAMETERS):
            here = [row for row in rows if row["mode"] == mode and row["model"] == model and "ratio" in row]
            lines_against_groups(axes[line][column], here, 1e3)
            axes[line][column].set_title(f"{tables.MODES[mode]}, {model}", fontsize=10)
    for line in axes:
        line[0].set_ylabel("one step, ms")
    return finished(figure, axes)


def compiling(device: dict[str, Any]) -> Any:
    """Time to trace and compile the small model against the number of groups."""
    columns = [(mode, rows) for _, rows in tables.results_of(device, "steps") for mode in modes_of(rows)]
    columns = [(mode, rows) for mode, rows in columns if mode != "eager"]
    if not columns:
        return None
    figure, axes = panels(1, len(columns))
    for axis, (mode, rows) in zip(axes[0], columns, strict=True):
        here = [row for row in rows if row["mode"] == mode and row["model"] == "small" and "compile" in row]
        lines_against_groups(axis, [row | row["compile"] for row in here], 1)
        axis.set_title(tables.MODES[mode], fontsize=10)
    axes[0][0].set_ylabel("trace, compile, first step, s")
    return finished(figure, axes)


def modes_of(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["mode"] for row in rows))


def lines_against_groups(axis: Any, rows: list[dict[str, Any]], scale: float) -> None:
    """One line a contender; each point is stock's median times the contender's paired ratio."""
    from statistics import median

    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter

    stock = median(row["stock_seconds"]["median"] for row in rows) * scale
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


def frozen(device: dict[str, Any]) -> Any:
    """Time of a training step against the share that is frozen."""
    found = tables.results_of(device, "frozen")
    if not found:
        return None
    figure, axes = panels(1, len(found))
    for axis, (backend, rows) in zip(axes[0], found, strict=True):
        blocks = [row["frozen"] for row in rows]
        by_hand = [row["stock_seconds"]["median"] * 1e3 for row in rows]
        by_plan = [row["stock_seconds"]["median"] * row["ratio"]["median"] * 1e3 for row in rows]
        axis.plot(blocks, by_hand, color=GRAY, marker="x", linewidth=1.5, label="stock, trainable=False by hand")
        color, marker, _ = LOOKS["difflr"]
        axis.plot(blocks, by_plan, color=color, marker=marker, linestyle="--", label="difflr, frozen by a plan")
        axis.set(
            ylim=(0, 1.15 * max(by_hand + by_plan)),
            title=tables.BACKENDS[backend],
            xlabel="frozen blocks of 12",
            xticks=[0, 3, 6, 9, 12],
        )
        axis.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes[0][0].set_ylabel("one step of fit, ms")
    return finished(figure, axes, "")


def finished(figure: Any, axes: Any, xlabel: str = "groups of variables") -> Any:
    """One legend for all panels."""
    handles = {}
    for axis in axes.flat:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    for axis in axes[-1] if xlabel else ():
        axis.set_xlabel(xlabel)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=min(len(handles), 2 * axes.shape[1]),
        frameon=False,
    )
    return figure
