"""Several devices and processes, simulated on this machine, end where one device ends.

Each backend has scripts that are run in processes of their own; what they found is asserted here. The full matrix, and
the examples of the guide as a user runs them, take some minutes a backend: `make distribution`.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from distribution import cases
from processes import environment

BACKEND = keras.backend.backend()
FULL = os.environ.get("DIFFLR_DISTRIBUTION") == "full"
HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples" / "distribution"
SECONDS = 1800 if FULL else 400
MOVED = 1e-6  # what a change of layout may change in a weight

LAUNCHED = [str(EXAMPLES / "launch.py"), "2"]
SCRIPTS = {
    "jax": {"devices": [str(HERE / "on_jax.py")]},
    "tensorflow": {
        "devices": [str(HERE / "on_tensorflow.py")],
        "workers": [*LAUNCHED, str(HERE / "on_tensorflow.py")],
    },
    "torch": {"processes": [*LAUNCHED, str(HERE / "on_torch.py")]},
}[BACKEND]
IN_QUICK = [name for name in SCRIPTS if FULL or name != "workers"]
RUN_EXAMPLES = {
    "jax": {"jax_devices": [str(EXAMPLES / "jax_devices.py")]},
    "tensorflow": {
        "tensorflow_mirrored": [str(EXAMPLES / "tensorflow_mirrored.py")],
        "tensorflow_workers": [*LAUNCHED, str(EXAMPLES / "tensorflow_workers.py")],
    },
    "torch": {"torch_processes": [*LAUNCHED, str(EXAMPLES / "torch_processes.py")]},
}[BACKEND]


def python(arguments, folder):
    """What a script prints, in a folder of its own."""
    variables = environment(LAUNCH_SECONDS=str(SECONDS - 30))  # it has to end what it has started
    for name in ("XLA_FLAGS", "TF_CONFIG"):
        variables.pop(name, None)
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=variables,
        timeout=SECONDS,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module", params=IN_QUICK)
def found(request, tmp_path_factory):
    arguments = [*SCRIPTS[request.param], *(["full"] if FULL else [])]
    return json.loads(python(arguments, tmp_path_factory.mktemp("distribution")).splitlines()[-1])


@pytest.mark.parametrize("case", list(cases.CASES) if FULL else cases.QUICK)
def test_ends_where_one_device_ends(found, case):
    assert isinstance(found[case], float), found[case]
    assert found[case] <= cases.CASES[case][1]


def test_groups_add_no_reduction(found):
    counts = [found[f"reductions: {groups}"] for groups in ("stock", 1, 10)]
    assert isinstance(counts[0], list), counts[0]
    assert counts[1:] == [counts[0]] * 2


def test_the_step_has_one_reduction(found):
    count = found["reductions: 10"]
    if BACKEND == "jax":
        assert count == [1, cases.VARIABLES + 1]  # of the gradients and the loss together
    elif BACKEND == "torch":
        assert count == [cases.VARIABLES]  # one message
    else:
        handed_over, operations = count
        assert set(handed_over) == {cases.VARIABLES}  # each replica hands over all gradients at once
        assert operations == len(handed_over)  # and takes part in one operation


EXTRA = {"jax": ["moved", "outside the scope"], "tensorflow": ["moved"], "torch": ["moved", "own loop"]}[BACKEND]


@pytest.mark.skipif(not FULL and BACKEND != "torch", reason="part of `make distribution`")
@pytest.mark.parametrize("name", EXTRA)
def test_goes_on_in_another_layout(found, name):
    assert isinstance(found[name], float), found[name]
    assert found[name] <= MOVED


@pytest.mark.parametrize("name", [name for name in RUN_EXAMPLES if FULL or BACKEND == "torch"])
def test_example(name, tmp_path):
    printed = python(RUN_EXAMPLES[name], tmp_path)
    alone, moved = map(float, re.findall(r"loss (\d+\.\d+)$", printed, re.MULTILINE))
    assert 0.5 < alone < 1.35  # log(4) = 1.386 is where it begins
    assert moved == pytest.approx(alone, rel=1e-4)


def test_launch_ends_all_when_one_fails_or_hangs(tmp_path):
    specification = importlib.util.spec_from_file_location("launch", EXAMPLES / "launch.py")
    launch = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(launch)
    note = "import os, pathlib, sys, time; pathlib.Path(os.environ['RANK']).write_text(str(os.getpid())); "
    hang = "time.sleep(60)"
    fail = "sys.exit(3) if os.environ['RANK'] == '1' else time.sleep(60)"
    for code, seconds in ((hang, 1), (fail, 30)):
        assert launch.launch(2, ["-c", note + code], seconds, cwd=tmp_path) == 1
        for rank in "01":
            with pytest.raises(ProcessLookupError):
                os.kill(int((tmp_path / rank).read_text()), 0)
    assert launch.launch(2, ["-c", "pass"], 30) == 0


GUIDE = HERE.parents[1] / "docs" / "distribution"
BLOCK = re.compile(r"<!-- not run: from (\S+) -->\s*```python\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("page", ["jax", "tensorflow", "torch"])
def test_the_guide_shows_what_the_examples_run(page):
    blocks = BLOCK.findall((GUIDE / f"{page}.md").read_text())
    assert blocks
    for example, code in blocks:
        assert code in (HERE.parents[1] / example).read_text(), (example, code.splitlines()[0])
