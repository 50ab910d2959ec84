"""Runs the soak on each backend at once, and writes docs/soak.md and its picture.

python -m benchmarks.soak [--minutes 60] [--backend jax] [--report]
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.settings import BACKENDS
from benchmarks.soak import report

ROOT = Path(__file__).resolve().parents[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="default: all installed")
    parser.add_argument("--report", action="store_true", help="write the page again from the numbers that are there")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    given = parser.parse_args()
    failed = []
    if not given.report:
        backends = given.backend or [name for name in BACKENDS if importlib.util.find_spec(name)]
        failed = run(backends, 60 * given.minutes, given.docs / "measured" / "soak")
    print(f"written: {report.write(given.docs)}", file=sys.stderr)
    if failed:
        sys.exit(f"The run broke off on {', '.join(failed)}.")


def run(backends, seconds, folder):
    """Runs the workers side by side; which of them failed."""
    folder.mkdir(parents=True, exist_ok=True)
    workers = {}
    for backend in backends:
        command = [sys.executable, "-m", "benchmarks.soak.worker", str(seconds), str(folder / f"{backend}.jsonl")]
        # One thread each: side by side they would wait for each other otherwise.
        environment = os.environ | {"KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        workers[backend] = subprocess.Popen(command, cwd=ROOT, env=environment)
    return [backend for backend, worker in workers.items() if worker.wait() != 0]


if __name__ == "__main__":
    main()
