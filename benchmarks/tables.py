"""The numbers as Markdown tables, and against the targets."""

from collections.abc import Iterable
from typing import Any

BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "torch"}
MODES = {"jit": "JAX, jit", "graph": "TensorFlow, graph", "xla": "TensorFlow, XLA", "eager": "torch, eager"}
HALF_OF_STOCK = ("SGD", "Adagrad")
PASS_OF_ONE_RATE = ("Adam", "AdamW")
PARAMETERS = {"small": 150 * 64**2, "large": 150 * 512**2}
BYTES_OF_ADAMW = 28


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    heads = list(heads)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def ratio(spread: dict[str, float]) -> str:
    """A median ratio and its quartiles: `1.01 (0.99–1.04)`."""
    if spread["samples"] < 3:
        return f"{spread['median']:.2f}"
    return f"{spread['median']:.2f} ({spread['low']:.2f}–{spread['high']:.2f})"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them, three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def size(number: float | None) -> str:
    """Bytes as megabytes."""
    return "–" if number is None else f"{number / 1e6:,.0f} MB"


def results_of(device: dict[str, Any], part: str) -> list[tuple[str, Any]]:
    """What each backend measured of a part, in order, as far as there."""
    found = [(name, device["backends"].get(name, {}).get(part)) for name in BACKENDS]
    return [(name, measured) for name, measured in found if measured]


def step_tables(device: dict[str, Any]) -> str:
    """For each way to run, every contender's ratio to stock on both models."""
    text = []
    for _, rows in results_of(device, "steps"):
        for mode in dict.fromkeys(row["mode"] for row in rows):
            here = [row for row in rows if row["mode"] == mode]
            text += [f"**{MODES[mode]}**", _step_table(here)]
    return "\n\n".join(text)


def _step_table(rows: list[dict[str, Any]]) -> str:
    found = {(row["name"], row["groups"], row["model"]): row for row in rows if "ratio" in row}
    lines = []
    for name, groups in dict.fromkeys(key[:2] for key in found):
        cells = []
        for model in PARAMETERS:
            row = found.get((name, groups, model))
            cells += [ratio(row["ratio"]), duration(row["seconds"]["median"])] if row else ["–", "–"]
        lines.append([name, groups, *cells])
    return table(["", "groups", "small: ratio to stock", "step", "large: ratio to stock", "step"], lines)


def state_table(device: dict[str, Any]) -> str:
    """Optimizer state of the large model."""
    lines = []
    for backend, rows in results_of(device, "steps"):
        rows = [row for row in rows if row["model"] == "large" and row["mode"] == rows[0]["mode"]]
        for row in rows:
            if row["name"] != "stock again" and row["groups"] in (1, 12, 150):
                state = row["state"]
                name = f"{BACKENDS[backend]}: {row['name']}"
                lines.append([name, row["groups"], state["variables"], f"{state['bytes']:,}"])
    return table(["AdamW, large", "groups", "state variables", "state bytes"], lines)


def limit_table(device: dict[str, Any]) -> str:
    """How far AdamW on the large model is from what the memory allows."""
    lines = []
    for backend, rows in results_of(device, "steps"):
        bandwidth = device["backends"][backend].get("bandwidth")
        chosen = [r for r in rows if r["model"] == "large" and "ratio" in r and r["groups"] == _most_groups(rows)]
        for row in chosen if bandwidth else []:
            limit = PARAMETERS["large"] * BYTES_OF_ADAMW / bandwidth
            name = f"{MODES[row['mode']]}: {row['name']}"
            times = [row["stock_seconds"]["median"] / limit, row["seconds"]["median"] / limit]
            lines.append([name, f"{bandwidth / 1e9:.1f} GB/s", duration(limit), *(f"{each:.1f}" for each in times)])
    heads = ["one group per variable", "measured bandwidth", "limit of a step", "stock / limit", "contender / limit"]
    return table(heads, lines)


def _most_groups(rows: list[dict[str, Any]]) -> int:
    return max(row["groups"] for row in rows)


def compile_table(device: dict[str, Any]) -> str:
    """For each way to run, every contender's compile time."""
    lines = []
    for _, rows in results_of(device, "steps"):
        for row in rows:
            if "compile" in row and row["mode"] != "eager":
                found = row["compile"]
                name = f"{MODES[row['mode']]}: {row['name']}"
                lines.append([name, row["groups"], ratio(found["ratio"]), *map(_median, _times(found))])
    return table(["", "groups", "ratio to stock", "compile and first step", "stock"], lines)


def optimizer_table(device: dict[str, Any]) -> str:
    lines = []
    for _, rows in results_of(device, "optimizers"):
        found = {(row["mode"], row["optimizer"], row["model"]): row for row in rows}
        for mode, name in dict.fromkeys(key[:2] for key in found):
            here = [found.get((mode, name, model)) for model in PARAMETERS]
            cells = [cell for row in here for cell in ([ratio(row["ratio"]), _median(row["seconds"])] if row else "––")]
            lines.append([f"{MODES[mode]}: {name}", *cells])
    return table(["one group per variable", "small: ratio to stock", "step", "large: ratio to stock", "step"], lines)


def _times(row: dict[str, Any]) -> list[dict[str, float]]:
    return [row["seconds"], row["stock_seconds"]]


def _median(spread: dict[str, float]) -> str:
    return duration(spread["median"])


def frozen_table(device: dict[str, Any]) -> str:
    lines = []
    for backend, rows in results_of(device, "frozen"):
        for row in rows:
            lines.append([BACKENDS[backend], f"{row['frozen']} of 12", ratio(row["ratio"]), *map(_median, _times(row))])
    return table(["", "frozen", "plan / by hand", "step, plan", "step, by hand"], lines)


def fit_table(device: dict[str, Any]) -> str:
    lines = []
    for backend, rows in results_of(device, "fit"):
        for row in rows:
            stock_first, first = row["first_epoch_seconds"]
            what = [f"{BACKENDS[backend]}: {row['network']}", f"{row['parameters'] / 1e6:.2f} M", row["groups"]]
            lines.append([*what, ratio(row["ratio"]), *map(_median, _times(row)), f"{first / stock_first:.2f}"])
    heads = ["`fit`", "parameters", "groups", "ratio to stock", "step", "stock", "first epoch, with compiling: ratio"]
    return table(heads, lines)


def memory_table(device: dict[str, Any]) -> str:
    lines = []
    for backend, rows in results_of(device, "memory"):
        base = {"frozen": _bytes_of(rows, "frozen", "hand")}
        for row in rows:
            against = base.get(row["name"], _bytes_of(rows, "stock", 1))
            share = f"{row['bytes'] / against:.2f}" if row["bytes"] and against else "–"
            name = "9 of 12 blocks frozen" if row["name"] == "frozen" else row["name"]
            lines.append([f"{BACKENDS[backend]}: {name}", row["groups"], size(row["bytes"]), share])
    return table(["", "groups, or how frozen", "peak memory", "ratio to stock, or to by hand"], lines)


def _bytes_of(rows: list[dict[str, Any]], name: str, groups: Any) -> int | None:
    return next((row["bytes"] for row in rows if (row["name"], row["groups"]) == (name, groups)), None)


def plan_table(device: dict[str, Any]) -> str:
    lines = []
    for backend, rows in results_of(device, "plans"):
        for row in rows:
            times = [row["patterns"], row["one rule a variable"]]
            each = [f"{duration(t)} ({duration(t / row['variables'])} a variable)" for t in times]
            lines.append([BACKENDS[backend], f"{row['variables']:,}", *each])
    return table(["", "variables", "three rules of patterns", "one rule a variable"], lines)


def import_table(device: dict[str, Any]) -> str:
    lines = [[BACKENDS[name], duration(seconds)] for name, seconds in results_of(device, "import_seconds")]
    return table(["", "`import difflr` after `import keras`"], lines)


def version_table(device: dict[str, Any]) -> str:
    lines = [
        [BACKENDS[name], measured.get("date", ""), ", ".join(f"{k} {v}" for k, v in measured["versions"].items())]
        for name, measured in device["backends"].items()
        if "versions" in measured
    ]
    return table(["", "measured on", "with"], lines)


def failures(device: dict[str, Any]) -> str:
    """What could not be measured, and why; nothing if all could."""
    return "\n".join(
        f"- Not measured on {BACKENDS[name]}: {part}: `{why}`"
        for name, measured in device["backends"].items()
        for part, why in measured.get("failed", {}).items()
    )
