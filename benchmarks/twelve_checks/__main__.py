"""Twelve checks of different rates, on Keras alone and on difflr; writes docs/twelve_checks.md with what was seen.

python -m benchmarks.twelve_checks [--backend jax] [--check freeze] [--report]
"""

import argparse
import importlib.util
import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")  # of this process, which only writes the page

from benchmarks.twelve_checks import report, runs

DOCS = Path(__file__).parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backend", action="append", choices=runs.BACKENDS, help="default: all installed")
    parser.add_argument("--check", action="append", choices=runs.NAMES, help="default: all")
    parser.add_argument("--report", action="store_true", help="only write the page from the results that are there")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where the page and the results go")
    given = parser.parse_args()
    results = runs.Results(given.docs / "measured" / "twelve_checks.jsonl")
    if not given.report:
        installed = [backend for backend in runs.BACKENDS if importlib.util.find_spec(backend)]
        runs.run_all(results, given.backend or installed, given.check or runs.NAMES, on_line=tell)
    print(f"written: {report.write(results, given.docs)}")


def tell(line: runs.Line) -> None:
    way = f" ({line['way']})" if line["way"] else ""
    print(f"{line['backend']}, {line['side']}, {line['check']}{way}: {line['verdict']}: {line['seen']}", flush=True)


if __name__ == "__main__":
    main()
