"""Every command that docs/command_line.md shows, in its order, on a small network and few images."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import difflr as library
from cli.commands import difflr
from difflr.demo import digits, export, squeezenet

PAGE = Path(__file__).parents[2] / "docs" / "command_line.md"
BLOCK = re.compile(r"(?P<before>[^\n]*)\n+```(?P<language>sh|python)\n(?P<code>.*?)```", re.DOTALL)

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A SqueezeNet of two thin fires with weights of no training, and four images of each digit."""
    random = np.random.default_rng(0)
    monkeypatch.setattr(squeezenet, "FIRES", {2: (2, 4), 9: (2, 4)})
    monkeypatch.setattr(export.export, "__defaults__", (4, (16, 16)))
    model = squeezenet.build((32, 32))
    weights = {
        layer.name.replace("_", "/", 1): [random.normal(0, 0.1, w.shape).astype("float32") for w in layer.weights]
        for layer in model.layers
        if layer.weights
    }
    images = random.integers(0, 255, (60, 28, 28, 1)).astype("uint8")
    monkeypatch.setattr(squeezenet, "read_weights", lambda: weights)
    monkeypatch.setattr(digits, "load", lambda: (images, np.repeat(np.arange(10), 6)))
    monkeypatch.chdir(tmp_path)


@pytest.mark.same_everywhere
def test_the_walk(small):
    shown = list(BLOCK.finditer(PAGE.read_text()))
    shown = [block for block in shown if "<!-- not run" not in block["before"] or "test_walk" in block["before"]]
    assert len(shown) == 6
    for block in shown:
        if block["language"] == "python":
            load, predict = block["code"].split("\n\nimage", 1)
            exec(load, names := {})
            exec(f"image{predict}", names)
            continue
        for line in block["code"].replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            assert program == "difflr"
            result = difflr(*words)
            assert result.code == 0, (line, result)
    report = library.read_report("digits.html")
    assert len(report["history"]["val_accuracy"]) == 6
    files = sorted(Path("start/digits").glob("*/*.png"))
    _, held_out = library.data.stratified_split(np.repeat(np.arange(10), 4), 0.2, 0)
    right = 0
    for file in (files[position] for position in held_out):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(f"image{predict}".replace("start/digits/7/000.png", str(file)), names)
        right += printed.getvalue().strip() == file.parent.name
    scores = zip(report["history"]["val_accuracy"], (-loss for loss in report["history"]["val_loss"]), strict=True)
    assert right == round(len(held_out) * max(scores)[0])  # the best epoch is kept
    assert "learning_rate/head" in str(report)
