"""What examples/README.md, the tutorial and its notebook show is what their code prints; `make outputs` writes it."""

import importlib.util
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest

TOOL = Path(__file__).parents[2] / "tools" / "outputs.py"
ACCURACY = re.compile(r"\b[01]\.\d\d\b(?!\d)")
CLOSE = 0.12  # accuracies differ a little from one processor to the next

pytestmark = [pytest.mark.usefixtures("quick_compilation")]


@pytest.fixture(scope="module")
def outputs():
    spec = importlib.util.spec_from_file_location("outputs", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_same(expected, found):
    """The same text, but for accuracies: these are close."""
    assert ACCURACY.sub("#", expected) == ACCURACY.sub("#", found), "run `make outputs`"
    numbers = [[float(number) for number in ACCURACY.findall(text)] for text in (expected, found)]
    np.testing.assert_allclose(*numbers, atol=CLOSE, err_msg="run `make outputs`")


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", ["fine_tune", "text", "audio", "shift", "gan", "muon", "embedding_rows"])
def test_an_example_prints_what_the_overview_shows(outputs, name):
    shown = {match["name"]: match["shown"] for match in outputs.EXAMPLE.finditer(outputs.OVERVIEW.read_text())}
    if name == "muon" and not hasattr(keras.optimizers, "MultiOptimizer"):
        pytest.skip("MultiOptimizer came with Keras 3.15")
    keras.utils.clear_session()
    assert_same(shown[name], outputs.run_example(name))


@pytest.mark.same_everywhere
def test_everything_trained_beats_the_head_alone(outputs):
    for name in ("fine_tune", "audio"):
        shown = {match["name"]: match["shown"] for match in outputs.EXAMPLE.finditer(outputs.OVERVIEW.read_text())}
        head, everything = map(float, ACCURACY.findall(shown[name].splitlines()[-1]))
        assert everything > head + CLOSE


@pytest.mark.same_everywhere
def test_every_example_is_in_the_overview(outputs):
    text = outputs.OVERVIEW.read_text()
    for file in outputs.OVERVIEW.parent.glob("*.py"):
        assert f"[{file.name}]({file.name})" in text


@pytest.mark.same_everywhere
def test_the_tutorial_and_its_notebook_show_what_their_code_prints(outputs):
    page, kept = outputs.TUTORIAL.read_text(), json.loads(outputs.NOTEBOOK.read_text())
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in kept["cells"]]
    assert cells == outputs.sources(page), "run `make outputs`"

    keras.utils.clear_session()
    runs = outputs.run_page(page)
    assert_same(page, outputs.with_outputs(page, runs))
    for old, new in zip(kept["cells"], outputs.notebook(page, runs)["cells"], strict=True):
        assert len(old.get("outputs", ())) == len(new.get("outputs", ()))
        for was, now in zip(old.get("outputs", ()), new.get("outputs", ()), strict=True):
            assert_same(
                *("".join([*one.get("text", ()), *one.get("data", {}).get("text/html", ())]) for one in (was, now))
            )


@pytest.mark.same_everywhere
def test_two_time_scales(eager_steps):
    spec = importlib.util.spec_from_file_location("gan", TOOL.parents[1] / "examples" / "gan.py")
    gan = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(gan)
    gan.main(num_rounds=1)  # verifies a round


def test_the_comparison_can_fail():
    with pytest.raises(AssertionError):
        assert_same("multiplier 0.1\n", "multiplier 0.2\n")
    with pytest.raises(AssertionError):
        assert_same("accuracy 0.71\n", "accuracy 0.40\n")
    assert_same("accuracy 0.71\n", "accuracy 0.75\n")
