"""`make faults`, short: a training that is killed, and taken up again."""

import subprocess
import sys

import keras
import pytest

from processes import environment


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="children of the others compile for long: make faults")
def test_killed_and_taken_up():
    command = [sys.executable, "-W", "ignore", "-m", "faults.kill", "--kills", "2"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "torch, difflr: 2 kills" in done.stdout
    assert "runs: equal" in done.stdout
