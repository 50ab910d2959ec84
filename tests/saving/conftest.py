"""One other process for all tests: starting Keras takes longer than everything it then does."""

import copy
import json
import os
import shutil
import subprocess
import sys
import traceback
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from saving import interrupted, kinds

TESTS = Path(__file__).parents[1]
FREQUENCIES = {"backup_by_epoch": "epoch", "backup_by_batch": 1}


@pytest.fixture(autouse=True)
def quick():
    with kinds.quick_initializers():
        yield


@pytest.fixture(scope="session")
def in_other_process():
    """Runs Python code or a script in a process of its own, on the same backend; returns what it prints."""

    def run(*arguments):
        paths = [str(TESTS), str(TESTS.parent / "src")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "KERAS_BACKEND": keras.backend.backend()}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *arguments], capture_output=True, text=True, env=environment, timeout=600
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory, in_other_process):
    """Per kind of model and of backup: the run without a break (`here`), and the one taken up elsewhere (`there`)."""
    folder = tmp_path_factory.mktemp("saved")
    here = {}
    with kinds.quick_initializers():
        for name, kind in kinds.KINDS.items():
            try:
                here[name] = saved_and_trained_on(name, kind, folder)
            except Exception:
                here[name] = {"error": traceback.format_exc()}
        for name, save_freq in FREQUENCIES.items():
            interrupt(folder / name, save_freq)
            shutil.copytree(folder / name, folder / f"kept_{name}")
    in_other_process(str(TESTS / "saving" / "other_process.py"), str(folder))
    there = json.loads((folder / "words.json").read_text())
    for name, words in there.items():
        if "error" not in words:
            words["state"] = dict(np.load(folder / f"{name}.npz"))
    return types.SimpleNamespace(here=here, there=there, folder=folder)


def saved_and_trained_on(name, kind, folder):
    model, x = kind()
    if name != "saved_before_training":
        kinds.train(model, x)
    kinds.change(name, model)
    model.save(folder / f"{name}.keras")
    told = None if name == "saved_before_training" else copy.deepcopy(kinds.told(model))
    at_break = kinds.state(model)
    kinds.train(model, x)
    return {"told": told or kinds.told(model), "state": kinds.state(model), "at_break": at_break}


def interrupt(folder, save_freq):
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(
            interrupted.model(),
            interrupted.backup(folder, save_freq),
            interrupted.Interrupt(None if save_freq == "epoch" else 1),
        )
