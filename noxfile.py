"""Every Keras on every Python: `make matrix`, or `nox` with what `nox --list` shows.

One environment for each Python found here, in .matrix; Keras is exchanged in it. The results are kept in
docs/measured/versions.json and written into docs/versions.md.
"""

import os
import sys
import time
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from benchmarks import versions  # noqa: E402 - the folder has to be on the path first

# The oldest that is supported, the last of each minor version, and what comes next. PyPI's `keras-nightly` is Keras's
# own build of every night.
KERAS = os.environ.get("KERAS", "3.12.0 3.13.2 3.14.1 3.15.1 nightly").split()
PYTHONS = os.environ.get("PYTHONS", "3.11 3.12 3.13 3.14").split()
BACKEND = os.environ.get("BACKEND", "jax")
# What touches Keras most; `TESTS=tests` runs all.
QUICK = """tests/test_keras_private.py tests/plan/test_plan.py tests/optimizers/test_stock_equality.py
tests/optimizers/test_weight_decay.py tests/saving/test_resume.py tests/phases/test_state.py"""
TESTS = os.environ.get("TESTS", QUICK).split()
VERSIONS = "import keras, {0}; print(keras.__version__, {0}.__version__)"

nox.options.envdir = ".matrix"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS, venv_backend="virtualenv")
def matrix(session: nox.Session) -> None:
    """The tests on each Keras with one Python."""
    needs = nox.project.load_toml("pyproject.toml")["project"]["optional-dependencies"]
    backend = (
        next((package for package in needs["dev"] if package.startswith(f"{BACKEND}==")), None) or needs[BACKEND][0]
    )
    session.install("-q", "keras", backend, *needs["cli"], *needs["report"], *needs["test"])
    session.install("-q", "--no-deps", "keras-hub==0.32.0", "--editable", ".")  # as in the Makefile
    for keras in KERAS:
        run(session, keras)


def run(session: nox.Session, keras: str) -> None:
    """The tests on one Keras, in the environment as it is."""
    session.run("python", "-m", "pip", "uninstall", "-q", "-y", "keras", "keras-nightly", silent=True)
    wanted = ["--pre", "keras-nightly"] if keras == "nightly" else [f"keras=={keras}"]
    session.install("-q", "--no-deps", *wanted)
    environment = {"KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3", "MPLBACKEND": "agg"}
    found = session.run("python", "-c", VERSIONS.format(BACKEND), env=environment, silent=True, stderr=None)
    report = Path(session.create_tmp()).resolve() / "report.xml"
    report.unlink(missing_ok=True)
    start = time.perf_counter()
    options = ["-q", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={report}", *session.posargs]
    session.run("python", "-m", "pytest", *options, *TESTS, env=environment, success_codes=[0, 1, 2])
    cell = versions.cell(str(session.python), keras, BACKEND, found or "", report, time.perf_counter() - start)
    cell["tests"] = "quick" if QUICK.split() == TESTS else " ".join(TESTS)
    versions.keep(cell)
    session.log(versions.line(cell))
    for failure in cell["failures"]:
        session.log(failure)
