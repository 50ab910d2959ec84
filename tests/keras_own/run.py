"""Runs Keras's own tests, which come with Keras, with difflr's optimizers in the place of Keras's.

python tests/keras_own/run.py [--part trainers] [--multiplier 2] [--keep]
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path

import keras

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(HERE.parent)]

from benchmarks import versions  # noqa: E402 - the folders have to be on the path first
from keras_own.expected import EXPECTED, LEFT_OUT, NOT  # noqa: E402

PACKAGES = Path(keras.__file__).parents[1]
PARTS = ("optimizers", "callbacks", "trainers", "saving")


def tests_of_keras() -> list[Path]:
    """All files of tests that are run here."""
    found = [file for part in PARTS for file in sorted((PACKAGES / "keras" / "src" / part).glob("*_test.py"))]
    return [file for file in found if file.stem not in LEFT_OUT]


def modules(part: str) -> list[str]:
    """Keras's modules of tests about `part`, such as `keras.src.optimizers.sgd_test`."""
    return [f"keras.src.{part}.{file.stem}" for file in tests_of_keras() if file.parent.name == part]


def outcomes(tests: list[str], multiplier: float | None, *options: str) -> dict[str, tuple[str, str]]:
    """Test -> what became of it and why.

    Args:
        tests: Modules, or single tests in pytest's form.
        multiplier: What all multipliers are, and the rates divided by; `None` for Keras's own optimizers.
        options: More for pytest.
    """
    paths = [str(HERE), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "DIFFLR_MULTIPLIER": str(multiplier or 1)}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        settings = ["-q", "-c", os.devnull, "--rootdir", str(PACKAGES), "-p", "no:cacheprovider", "-W", "ignore"]
        settings += [] if multiplier is None else ["-p", "substitution"]
        command = [sys.executable, "-m", "pytest", *settings, f"--junitxml={report}", *options, "-k", NOT, "--pyargs"]
        done = subprocess.run(
            [*command, *tests], env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    if not cases:
        raise RuntimeError(f"pytest ran nothing:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return {f"{case.get('classname')}::{case.get('name')}": versions.outcome(case) for case in cases}


def short(test: str) -> str:
    """`Class::name` of a test's long name."""
    place, name = test.split("::", 1)
    return f"{place.split('.')[-1]}::{name.split('[')[0]}"


def expected(multiplier: float) -> dict[str, str]:
    """Test -> why it fails on purpose, on this backend."""
    mine = [each for each in EXPECTED if keras.backend.backend() in each.backends]
    return {each.test: each.reason for each in mine if multiplier != 1 or not each.only_with_multiplier}


def failed(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Test -> why it failed."""
    return {test: why for test, (what, why) in found.items() if what == "failed"}


def fail_with_stock(tests: list[str]) -> set[str]:
    """Which of `tests` fail with Keras's own optimizers here, too."""
    if not tests:
        return set()
    places = {test.split("::")[0].rsplit(".", 1)[0] for test in tests}
    names = " or ".join(sorted({re.split(r"[\[:]", test)[-1 if "[" not in test else -2] for test in tests}))
    return set(failed(outcomes(sorted(places), None, "-k", f"({names}) and {NOT}"))) & set(tests)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="default: all")
    parser.add_argument("--multiplier", action="append", type=float, help="default: 1 and 2")
    parser.add_argument("--keep", action="store_true", help="write the numbers into docs/versions.md")
    given = parser.parse_args()
    wrong = False
    for multiplier in given.multiplier or [1, 2]:
        parts = given.part or list(PARTS)
        found = outcomes([module for part in parts for module in modules(part)], multiplier)
        on_purpose = expected(multiplier)
        surprises = [test for test in failed(found) if short(test) not in on_purpose]
        stock = fail_with_stock(surprises)
        for part in parts:
            mine = {test: each for test, each in found.items() if f".{part}." in f".{test}"}
            bad = failed(mine)
            row = {
                "part": part,
                "multiplier": f"{multiplier:g}",
                "backend": keras.backend.backend(),
                "passed": sum(what == "passed" for what, _ in mine.values()),
                "expected": sum(short(test) in on_purpose for test in bad),
                "stock": len(stock & set(bad)),
                "skipped": sum(what == "skipped" for what, _ in mine.values()),
                "failed": len(set(bad) & set(surprises) - stock),
                "keras": keras.__version__,
                "date": date.today().isoformat(),
            }
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            if given.keep:
                versions.keep(row, "keras_own", ("part", "multiplier", "backend"))
        for test in surprises:
            print(f"  {'fails with stock Keras, too' if test in stock else 'FAILED'}: {test}: {failed(found)[test]}")
        ran = {short(test) for test in found}
        gone = [test for test in on_purpose if test in ran and test not in map(short, failed(found))]
        print("".join(f"  PASSED, against {test}'s entry in expected.py\n" for test in gone), end="")
        wrong = wrong or bool(gone) or bool(set(surprises) - stock)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
