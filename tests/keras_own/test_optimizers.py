"""Keras's own tests of its optimizers pass with ours in their place. `make keras-own` runs all of them, and more."""

import keras
import pytest

from keras_own import run
from processes import environment

pytestmark = pytest.mark.skipif(not run.tests_of_keras(), reason="this Keras comes without its tests")
TORCH = keras.backend.backend() == "torch"


@pytest.fixture(autouse=True)
def quick_processes(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


def surprises(modules, multiplier):
    """The tests that ran; those that fail and should not; those that pass and should not."""
    found = run.outcomes(modules, multiplier)
    failed = {run.short(test): why for test, why in run.failed(found).items()}
    on_purpose = run.expected(multiplier)
    passed = {run.short(test) for test, (what, _) in found.items() if what == "passed"}
    return passed, {test: why for test, why in failed.items() if test not in on_purpose}, passed & set(on_purpose)


@pytest.mark.skipif(
    not TORCH, reason="minutes of compiling for Keras's own updates; `make keras-own` runs them everywhere"
)
def test_a_multiplier_and_the_rate_divided_by_it():
    passed, failed, fixed = surprises(run.modules("optimizers"), 2)
    assert not failed
    assert not fixed
    assert len(passed) > 80


def test_what_is_expected_is_there():
    names = {each.test for each in run.EXPECTED}
    text = "".join(file.read_text() for file in run.tests_of_keras())
    assert not [name for name in names if f"def {name.split('::')[1]}" not in text or name.split("::")[0] not in text]
