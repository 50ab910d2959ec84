"""Some checks of one side on one backend, in a process of its own: Keras reads its backend once, and some checks crash.

python -m benchmarks.twelve_checks.worker BACKEND SIDE FILE CHECK ...
"""

import json
import os
import sys
from pathlib import Path


def main(backend: str, side: str, file: str, *names: str) -> None:
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.twelve_checks.all_checks import CHECKS
    from benchmarks.twelve_checks.devices import prepare

    if any(CHECKS[name].alone for name in names):
        prepare(backend)
    for name in names:
        for way, outcome in CHECKS[name].outcomes(side):
            line = {"check": name, "side": side, "way": way, "verdict": outcome.verdict, "seen": outcome.seen}
            with Path(file).open("a") as out:  # at once: what comes next may end the process
                out.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
