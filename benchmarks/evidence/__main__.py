"""Compares ways to fine-tune, and writes docs/comparison.md with its numbers and its picture.

python -m benchmarks.evidence [--task tweets] [--method "one rate"] [--report]
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # no compilation, of which there would be one for every phase

from benchmarks.evidence import report, runs
from benchmarks.evidence.methods import METHODS
from benchmarks.evidence.tasks import TASKS

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", action="append", choices=TASKS, help="default: all")
    parser.add_argument("--method", action="append", choices=METHODS, help="default: all")
    parser.add_argument("--report", action="store_true", help="only write the page from the results that are there")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page and the results go")
    given = parser.parse_args()
    results = runs.Results(given.docs / "measured" / "evidence.jsonl")
    if not given.report:
        runs.run_all(results, given.task or TASKS, given.method or METHODS, on_run=lambda line: print(line, flush=True))
    print(f"written: {report.write(results, given.docs)}")


if __name__ == "__main__":
    main()
