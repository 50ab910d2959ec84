"""Runs the checks, each backend and each side in processes of their own, and keeps what came of them."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}
NAMES = (  # in the order of the page
    *("backbone", "nothing", "overlap", "plateau", "scheduler", "clip"),
    *("freeze", "unfreeze", "devices", "resume", "step", "decay"),
)
ALONE = ("devices",)  # in a process of their own
SIDES = ("Keras", "difflr")
LONGEST = 400  # seconds for one process
Line = dict[str, Any]


class Results:
    """What came of every way of every check: one line of JSON each.

    Args:
        file: Where they are kept.
    """

    def __init__(self, file: Path):
        self.file = file
        self.lines: list[Line] = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def of(self, **fields: Any) -> list[Line]:
        """The lines with these fields."""
        return [line for line in self.lines if all(line.get(key) == value for key, value in fields.items())]

    def replace(self, backend: str, side: str, names: Sequence[str], lines: list[Line]) -> None:
        """Puts the lines of some checks in the place of those that were there."""
        kept = [x for x in self.lines if (x["backend"], x["side"]) != (backend, side) or x["check"] not in names]
        place = [*BACKENDS].index
        self.lines = sorted(
            kept + lines, key=lambda x: (NAMES.index(x["check"]), place(x["backend"]), SIDES.index(x["side"]))
        )
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("".join(json.dumps(line) + "\n" for line in self.lines))


def run_all(
    results: Results, backends: Sequence[str], names: Sequence[str], on_line: Callable[[Line], None] = lambda line: None
) -> None:
    """Runs checks on both sides of some backends.

    Args:
        results: Where they go.
        backends: Which.
        names: Of the checks.
        on_line: Called with every line.
    """
    for backend in backends:
        about = {"backend": backend, "keras": version("keras"), "date": time.strftime("%Y-%m-%d")}
        for side in SIDES:
            for together in ([n for n in names if n not in ALONE], *([n] for n in names if n in ALONE)):
                if together:
                    lines = [{**about, **line} for line in in_a_process(backend, side, together)]
                    results.replace(backend, side, together, lines)
                    for line in lines:
                        on_line(line)


def in_a_process(backend: str, side: str, names: Sequence[str]) -> list[Line]:
    """What a worker wrote; a check that it did not trainable to tell of is a refusal."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lines"
        command = [sys.executable, "-m", "benchmarks.twelve_checks.worker", backend, side, str(file), *names]
        environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
        how = "with exit status 0"
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, check=False, timeout=LONGEST, stderr=subprocess.PIPE, text=True
            )
            if done.returncode:
                how = f"with exit status {done.returncode}"
                print(done.stderr[-2000:], file=sys.stderr)
        except subprocess.TimeoutExpired:
            how = f"by being stopped after {LONGEST} s"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    told = {line["check"] for line in lines}
    lost = {"side": side, "way": "", "verdict": "refused", "seen": f"the process ended {how}, without a result"}
    return lines + [{"check": name, **lost} for name in names if name not in told]
