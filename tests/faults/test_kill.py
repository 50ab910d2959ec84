"""`make faults`, short: a training that is killed, and taken up again."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="children of the others compile for long: make faults")
def test_killed_and_taken_up():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "src")])}
    command = [sys.executable, "-W", "ignore", "-m", "faults.kill", "--kills", "2"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "torch, difflr: 2 kills" in done.stdout
    assert "runs: equal" in done.stdout
