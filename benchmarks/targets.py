"""What difflr means to reach, and what was measured."""

from collections.abc import Iterator
from typing import Any

from benchmarks import tables

STEP = {"jit": 1.02, "graph": 1.02, "xla": 1.02, "eager": 0.3}
COMPILE = {"jit": 1.15, "graph": 1.10, "xla": 1.10}
TORCH = {"Adam": 0.3, "AdamW": 0.3, "SGD": 0.5, "Adagrad": 0.5}
TORCH_OTHERS = 1.05
FROZEN = 1.05
FIT = {"jax": 1.02, "tensorflow": 1.02, "torch": 1.0}
IMPORT_SECONDS = 0.05
PLAN_SECONDS = 1.0


def target_of(mode: str, optimizer: str) -> float:
    """The highest ratio to stock that is meant to be reached."""
    return TORCH.get(optimizer, TORCH_OTHERS) if mode == "eager" else STEP[mode]


def all_targets(device: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yields `(what, the most it may be, what was measured)`."""
    yield from _steps(device)
    yield from _peers(device)
    yield from _state(device)
    yield from _compiling(device)
    yield from _optimizers(device)
    yield from _training(device)
    yield from _beginning(device)


def _steps(device):
    for _, rows in tables.results_of(device, "steps"):
        for row in rows:
            if row["name"] == "difflr":
                groups = "1 group" if row["groups"] == 1 else f"{row['groups']} groups"
                what = f"{tables.MODES[row['mode']]}: AdamW step, {row['model']}, {groups}"
                yield what, target_of(row["mode"], "AdamW"), row["ratio"]["median"]


def _peers(device):
    """How difflr's time compares with each peer's at the same number of groups."""
    for _, rows in tables.results_of(device, "steps"):
        ratios = {(r["mode"], r["model"], r["groups"], r["name"]): r["ratio"]["median"] for r in rows if "ratio" in r}
        for (mode, model, groups, name), ratio in ratios.items():
            ours = ratios.get((mode, model, groups, "difflr"))
            if ours and name not in ("difflr", "stock again"):
                yield f"{tables.MODES[mode]}: difflr / {name}, {model}, {groups} groups", 1.0, ours / ratio


def _state(device):
    for backend, rows in tables.results_of(device, "steps"):
        stock = {r["model"]: r["state"]["variables"] for r in rows if r["name"] == "stock"}
        more = [
            (r["state"]["variables"] - stock[r["model"]]) / r["groups"]
            for r in rows
            if r["name"] == "difflr" and r["model"] in stock
        ]
        if more:
            yield f"{tables.BACKENDS[backend]}: state variables more than stock, a group", 1.0, max(more)


def _compiling(device):
    for _, rows in tables.results_of(device, "steps"):
        for row in rows:
            if row["name"] == "difflr" and row["mode"] in COMPILE and "compile" in row:
                what = f"{tables.MODES[row['mode']]}: compiling, {row['groups']} groups"
                yield what, COMPILE[row["mode"]], row["compile"]["ratio"]["median"]


def _optimizers(device):
    for _, rows in tables.results_of(device, "optimizers"):
        for row in rows:
            what = f"{tables.MODES[row['mode']]}: {row['optimizer']} step, {row['model']}"
            yield what, target_of(row["mode"], row["optimizer"]), row["ratio"]["median"]


def _training(device):
    for backend, rows in tables.results_of(device, "frozen"):
        yield f"{tables.BACKENDS[backend]}: frozen share", FROZEN, max(row["ratio"]["median"] for row in rows)
    for backend, rows in tables.results_of(device, "memory"):
        held = {row["groups"]: row["bytes"] for row in rows if row["name"] == "frozen"}
        if held.get("hand") and held.get("plan"):
            yield f"{tables.BACKENDS[backend]}: frozen share, peak memory", FROZEN, held["plan"] / held["hand"]
    for backend, rows in tables.results_of(device, "fit"):
        for row in rows:
            yield f"{tables.BACKENDS[backend]}: `fit`, {row['network']}", FIT[backend], row["ratio"]["median"]


def _beginning(device):
    for backend, rows in tables.results_of(device, "plans"):
        largest = max(rows, key=lambda row: row["variables"])
        slowest = max(largest["patterns"], largest["one rule a variable"])
        yield f"{tables.BACKENDS[backend]}: plan of {largest['variables']:,} variables, s", PLAN_SECONDS, slowest
    for backend, seconds in tables.results_of(device, "import_seconds"):
        yield f"{tables.BACKENDS[backend]}: `import difflr`, s", IMPORT_SECONDS, seconds


def missed(device: dict[str, Any]) -> list[str]:
    """The targets that were missed, a line each, and how many were not."""
    found = list(all_targets(device))
    lines = [f"{what}: {measured:.3g}, should be at most {most:g}" for what, most, measured in found if measured > most]
    return [*lines, f"{len(found) - len(lines)} of {len(found)} targets are reached"]
