"""One other process for all tests: starting Keras takes longer than everything it then does."""

import contextlib
import copy
import json
import re
import subprocess
import sys
import traceback
import types
import warnings

import numpy as np
import pytest

from processes import QUICKLY, TESTS, compiled_quickly, environment
from saving import kinds


@contextlib.contextmanager
def saying(pattern):
    """Expects one warning to the user. `pytest.warns` also passes on Keras's own, which pyproject.toml lets by."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert len(said) == 1, said
    assert re.search(pattern, said[0]), said[0]


@pytest.fixture(autouse=True)
def quick(quick_compilation):
    with kinds.quick_initializers():
        yield


def start_process(*arguments):
    """Python in a process of its own, on the same backend."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(**QUICKLY),
    )


@pytest.fixture
def in_other_process():
    """Runs Python code in a process of its own; returns what it prints."""

    def run(code):
        process = start_process("-c", code)
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed
        return printed

    return run


@pytest.fixture(scope="module")
def runs(request, tmp_path_factory):
    """For each `name` that this module's tests need, the run without a break, and the one resumed elsewhere."""
    tests = [item for item in request.session.items if item.module is request.module and "runs" in item.fixturenames]
    names = {item.callspec.params["name"] for item in tests}
    folder = tmp_path_factory.mktemp("saved")
    process = start_process(str(TESTS / "saving" / "other_process.py"), str(folder))  # it works while we do
    here = {}
    with compiled_quickly(), kinds.quick_initializers():
        for name in names:
            try:
                here[name] = saved_and_trained_on(name, kinds.KINDS[name], folder, process.stdin)
            except Exception:
                here[name] = {"error": traceback.format_exc()}
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    there = json.loads((folder / "words.json").read_text())
    for name, words in there.items():
        if "error" not in words:
            words["state"] = dict(np.load(folder / f"{name}.npz"))
    return types.SimpleNamespace(here=here, there=there)


def saved_and_trained_on(name, kind, folder, ready):
    model, x = kind()
    if name != "saved_before_training":
        kinds.train(model, x)
    kinds.change(name, model)
    model.save(folder / f"{name}.keras")
    print(name, file=ready, flush=True)
    told = None if name == "saved_before_training" else copy.deepcopy(kinds.told(model))
    at_break = kinds.state(model)
    kinds.train(model, x)
    return {"told": told or kinds.told(model), "state": kinds.state(model), "at_break": at_break}
