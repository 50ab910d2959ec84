"""TensorFlow's MirroredStrategy on two virtual devices: one reduction a step, and the weights of one device."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from optimizers.steps import BACKEND

REPLICAS = 2
VARIABLES = 8


@pytest.mark.skipif(BACKEND != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_groups_add_no_reduction():
    script = Path(__file__).with_name("mirrored.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(done.stdout.splitlines()[-1])
    for (alone, _), (mirrored, reductions) in results.values():
        assert reductions == [VARIABLES] * REPLICAS  # each replica hands over all gradients, at once
        for mine, theirs in zip(mirrored, alone, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-6)
    one_group, four_groups = results["1"][1][0], results["4"][1][0]
    assert not np.allclose(one_group[0], four_groups[0], atol=1e-3)
