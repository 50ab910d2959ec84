"""The numbers as one Markdown table."""

from collections.abc import Iterable, Iterator
from typing import Any

BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "torch"}
MODES = {"jit": "JAX, jit", "graph": "TensorFlow, graph", "xla": "TensorFlow, XLA", "eager": "torch, eager"}
FIRST_MODE = {"jax": "jit", "tensorflow": "graph", "torch": "eager"}
MODELS = ("small", "large")


def table(heads: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    heads = list(heads)
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def results_of(device: dict[str, Any], part: str) -> list[tuple[str, Any]]:
    """What each backend measured of a part, in order, as far as there."""
    found = [(name, device["backends"].get(name, {}).get(part)) for name in BACKENDS]
    return [(name, measured) for name, measured in found if measured]


def ratio_table(device: dict[str, Any]) -> str:
    """Ratios to stock Keras: a row for each measurement, a column for each way to run."""
    rows: dict[str, dict[str, float]] = {}
    for make in (step_ratios, compile_ratios, fit_ratios, memory_ratios):
        for mode, what, ratio in make(device):
            rows.setdefault(what, {})[mode] = ratio
    modes = [mode for mode in MODES if any(mode in row for row in rows.values())]
    cells = [[what, *(f"{row[mode]:.2f}" if mode in row else "" for mode in modes)] for what, row in rows.items()]
    return table(["time or memory / stock Keras", *map(MODES.get, modes)], cells) if cells else ""


def step_ratios(device: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """AdamW's step on both models; stock against itself shows the noise."""
    for model in reversed(MODELS):
        for _, rows in results_of(device, "steps"):
            for row in (row for row in rows if row["model"] == model and "ratio" in row):
                if row["name"] == "stock again":
                    yield row["mode"], f"step, {model} weights: stock against itself", row["ratio"]["median"]
                elif row["name"] == "difflr" and row["groups"] in (1, 150):
                    yield row["mode"], f"step, {model} weights, {groups(row)}", row["ratio"]["median"]


def compile_ratios(device: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    for _, rows in results_of(device, "steps"):
        for row in rows:
            if row["name"] == "difflr" and "compile" in row and row["mode"] != "eager" and row["groups"] > 1:
                yield row["mode"], f"compiling, {groups(row)}", row["compile"]["ratio"]["median"]


def fit_ratios(device: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Whole training steps."""
    for backend, rows in results_of(device, "fit"):
        for row in rows:
            yield FIRST_MODE[backend], f"`fit`, {row['network']}, {groups(row)}", row["ratio"]["median"]
    for backend, rows in results_of(device, "frozen"):
        last = rows[-1]
        what = f"`fit`, {last['frozen']} of 12 blocks frozen (stock: `trainable = False`)"
        yield FIRST_MODE[backend], what, last["ratio"]["median"]


def memory_ratios(device: dict[str, Any]) -> Iterator[tuple[str, str, float]]:
    for backend, rows in results_of(device, "memory"):
        found = {(row["name"], row["groups"]): row["bytes"] for row in rows}
        if found.get(("stock", 1)) and found.get(("difflr", 150)):
            yield FIRST_MODE[backend], "peak memory, 150 groups", found["difflr", 150] / found["stock", 1]


def groups(row: dict[str, Any]) -> str:
    return "1 group" if row["groups"] == 1 else f"{row['groups']} groups"


def failures(device: dict[str, Any]) -> str:
    """What could not be measured, and why; nothing if all could."""
    return "\n".join(
        f"- Not measured on {BACKENDS[name]}: {part}: `{why}`"
        for name, measured in device["backends"].items()
        for part, why in measured.get("failed", {}).items()
    )
