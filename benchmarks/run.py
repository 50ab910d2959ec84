"""Measures what difflr costs, and writes docs/cost.md with its numbers and pictures.

python benchmarks/run.py [--full | --quick] [--backend jax] [--only steps] [--report]
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import report, settings, targets  # noqa: E402 - the folder above has to be on the path first

LONGEST = 3600  # seconds for one process, should the machine be busy
# After a collection of garbage, which would otherwise fall into it by chance: 0.2 s with what torch brings.
IMPORT_TIME = """
import gc, time, keras
gc.collect()
start = time.perf_counter()
import difflr
print(time.perf_counter() - start)
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    how_much = parser.add_mutually_exclusive_group()
    how_much.add_argument("--full", action="store_const", const="full", dest="settings", help="all, about an hour")
    how_much.add_argument("--quick", action="store_const", const="quick", dest="settings", help="whether it runs")
    parser.add_argument("--backend", action="append", choices=settings.BACKENDS, help="default: all installed")
    parser.add_argument("--only", action="append", default=[], help="one part, such as steps, compiling, fit")
    parser.add_argument("--report", action="store_true", help="write the page again from the numbers that are there")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the page goes")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    if not given.report:
        installed = [backend for backend in settings.BACKENDS if importlib.util.find_spec(backend)]
        for backend in given.backend or installed:
            start = time.perf_counter()
            print(f"{backend}:", file=sys.stderr)
            held = keep(given.docs, backend, measured(backend, given.settings or "default", given.only))
            print(f"{backend}: {time.perf_counter() - start:.0f} s in all", file=sys.stderr)
            print("\n".join(targets.missed(held)), file=sys.stderr)
    print(f"written: {report.write(given.docs)}", file=sys.stderr)


def worker(backend: str, before: list[str], after: list[str]) -> Any:
    """What a worker in a process of its own wrote, or `None`.

    Args:
        backend: Which.
        before: The worker's arguments before the file it writes.
        after: Those after it.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "measured.json"
        command = [sys.executable, "-m", "benchmarks.worker", backend, *before, str(file), *after]
        environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        try:
            subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=LONGEST)
        except subprocess.TimeoutExpired:
            print(f"  {backend}: stopped after {LONGEST} s; what is measured is kept", file=sys.stderr)
        return json.loads(file.read_text()) if file.exists() else None


def measured(backend: str, name: str, only: list[str]) -> dict[str, Any]:
    """Everything about one backend."""
    results = worker(backend, [name], only)
    if results is None:
        return {"failed": {"everything": "the process ended without a result"}}
    results["date"] = date.today().isoformat()
    if not only or "memory" in only:
        results["memory"] = memory(backend, settings.BY_NAME[name])
        print(f"  {backend}: memory", file=sys.stderr)
    if not only or "import" in only:
        results["import_seconds"] = import_seconds(backend)
    return results


def memory(backend: str, chosen: settings.Settings) -> list[dict[str, Any]]:
    """Peak memory, each thing in a process of its own."""
    wanted = [*chosen.memory, ("frozen", "hand"), ("frozen", "plan")]
    return [
        {"name": what, "groups": how, "bytes": worker(backend, ["memory", what, str(how)], [])} for what, how in wanted
    ]


def import_seconds(backend: str) -> float:
    """What `import difflr` adds to `import keras`, once its bytecode is kept, as after every installation."""
    environment = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    found = [
        subprocess.run([sys.executable, "-c", IMPORT_TIME], env=environment, capture_output=True, text=True, check=True)
        for _ in range(6)
    ]
    return statistics.median(float(each.stdout.split()[-1]) for each in found[1:])


def keep(docs: Path, backend: str, results: dict[str, Any]) -> dict[str, Any]:
    """Puts the results of one backend beside those of the others on the same device, which it returns."""
    device = results.get("gpu") or "cpu"
    folder = docs / "measured" / "cost"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{report.slug(device)}.json"
    held = json.loads(file.read_text()) if file.exists() else {}
    held["device"] = results.get("gpu") or f"{os.cpu_count()} cores, CPU ({platform.machine()})"
    backends = held.setdefault("backends", {})
    backends[backend] = {**backends.get(backend, {}), **results}
    file.write_text(json.dumps(held, indent=1) + "\n")
    return held


if __name__ == "__main__":
    main()
