"""The benchmarks are no part of the package, so the root has to be on the path; and made-up results of every part."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


def spread(median):
    return {"median": median, "low": median * 0.9, "high": median * 1.1, "samples": 5}


def compared(ratio, stock=0.01):
    return {"seconds": spread(ratio * stock), "stock_seconds": spread(stock), "ratio": spread(ratio)}


def step_rows(mode, **ratios):
    state = {"variables": 302, "bytes": 1200}
    rows = []
    for model in ("small", "large"):
        rows.append({"mode": mode, "model": model, "name": "stock", "groups": 1, "state": state})
        for name, ratio in ratios.items():
            for groups in (1, 12, 150):
                row = {"mode": mode, "model": model, "name": name, "groups": groups, "state": state}
                compiled = {"compile": compared(ratio * 1.1, 1.5)} if model == "small" else {}
                rows.append(row | compared(ratio) | compiled)
    return rows


def backend(mode, ratio):
    return {
        "versions": {"keras": "3.15.1"},
        "date": "2026-01-31",
        "failed": {},
        "bandwidth": 2e10,
        "steps": step_rows(mode, difflr=ratio, MultiOptimizer=2.0),
        "optimizers": [
            {"optimizer": "SGD", "mode": mode, "model": model, "groups": 150} | compared(ratio)
            for model in ("small", "large")
        ],
        "frozen": [{"frozen": blocks} | compared(1.0) for blocks in (0, 6, 9)],
        "fit": [
            {"network": "small transformer", "groups": 30, "parameters": 10**6, "first_epoch_seconds": [2.0, 2.2]}
            | compared(1.0)
        ],
        "plans": [{"variables": 10000, "patterns": 0.5, "one rule a variable": 1.5}],
        "memory": [
            {"name": "stock", "groups": 1, "bytes": 500e6},
            {"name": "difflr", "groups": 150, "bytes": 505e6},
            {"name": "frozen", "groups": "hand", "bytes": 100e6},
            {"name": "frozen", "groups": "plan", "bytes": None},
        ],
        "import_seconds": 0.04,
    }


def made_up(name="2 cores, CPU"):
    return {"device": name, "backends": {"jax": backend("jit", 1.01), "torch": backend("eager", 0.25)}}


@pytest.fixture
def device():
    """Makes the results of a device, as a run leaves them."""
    return made_up
