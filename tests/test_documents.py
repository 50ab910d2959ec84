"""Whatever Python the documents show runs: the README, docs/ and the docstrings' examples.

The ```python blocks of one file run in order in one namespace, in a folder of their own. What a
```text block right below shows is what the code printed; a line `...` stands for any lines. A block
that cannot run says so, and why, in the line before it: `<!-- not run: reason -->`. One for a single
backend is marked `<!-- run on jax -->`, and runs on that one alone. A docstring's
blocks find `difflr`, `keras`, `np` and what `docstring_namespace` adds, and import the rest.
"""

import contextlib
import inspect
import io
import pkgutil
import re
import textwrap
import traceback
from pathlib import Path

import keras
import numpy as np
import pytest

import difflr
from test_house import NAMESPACES

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
DOCUMENTS.remove(ROOT / "docs" / "tutorial.md")  # tests/examples/test_outputs.py runs it, and compares what it shows
BLOCK = re.compile(
    r"^(?P<indent>[ \t]*)```(?:python|py)\b[^\n]*\n(?P<code>.*?)^(?P=indent)```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = re.compile(r"<!--\s*not run:\s*\S.*?-->\s*\Z", re.DOTALL)
SHOWN = re.compile(r"```\n\n```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN_ON = re.compile(r"<!--\s*run on (jax|tensorflow|torch)\s*-->\s*\Z")


def python_blocks(text):
    """The blocks to run, as (the line on which the code begins, the code)."""
    for block in BLOCK.finditer(text):
        above = text[: block.start()]
        backend = RUN_ON.search(above)
        if not NOT_RUN.search(above) and (backend is None or backend[1] == keras.backend.backend()):
            line = text.count("\n", 0, block.start("code"))
            yield line, textwrap.dedent(block["code"])


def run_blocks(text, file, namespace):
    """Run the blocks; a traceback then names the document and its line. Compare what they print with what is shown."""
    lines = text.splitlines(keepends=True)
    for line, code in python_blocks(text):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile("\n" * line + code, str(file), "exec"), namespace)
        if found := SHOWN.match("".join(lines[line + code.count("\n") :])):
            pattern = re.escape(found[1]).replace(re.escape("...\n"), "(.*\n)*")
            assert re.fullmatch(pattern, printed.getvalue()), f"{file}:{line + 1} prints\n{printed.getvalue()}"


def examples_in_docstrings():
    """Every docstring of ours with a block in it, once, by its full name."""
    found = {}
    for namespace in NAMESPACES:
        module = pkgutil.resolve_name(namespace)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing):
                continue
            for label, one in [(f"{namespace}.{name}", thing), *methods_of(thing, namespace, name)]:
                text = our_docstring(one)
                blocks = tuple(code for _, code in python_blocks(text))
                if blocks:
                    found.setdefault(blocks, pytest.param(text, label, id=label))
    return list(found.values())


def our_docstring(thing):
    """The docstring, less what a generated class quotes from the Keras class that it is made of."""
    if not (getattr(thing, "__module__", None) or "").startswith("difflr"):
        return ""
    text = inspect.cleandoc(thing.__doc__ or "")
    for base in thing.__mro__[1:] if inspect.isclass(thing) else ():
        if not base.__module__.startswith("difflr"):
            text = text.replace(inspect.cleandoc(base.__doc__ or " "), "")
    return text


def methods_of(thing, namespace, name):
    if not inspect.isclass(thing):
        return
    for base in thing.__mro__:
        if base.__module__.startswith("difflr"):
            for attribute, method in vars(base).items():
                if not attribute.startswith("_"):
                    method = getattr(method, "fget", None) or getattr(method, "__func__", method)
                    yield f"{namespace}.{name}.{attribute}", method


def docstring_namespace():
    """What a docstring's example may take for granted: a small model, as if pretrained, compiled by nobody."""
    backbone = keras.Sequential(
        [
            keras.layers.Dense(8, activation="relu", name="stem"),
            keras.layers.Dense(8, activation="relu", name="block"),
        ],
        name="backbone",
    )
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(backbone(inputs)))
    for variable in model.trainable_variables:
        variable.assign(variable + 0.01)
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    y = np.arange(32) % 3
    return {"difflr": difflr, "keras": keras, "np": np, "model": model, "x": x, "y": y}


# Documents that run on TensorFlow as they do for a user: their steps are graphs.
WITH_GRAPHS = ("README.md", "docs/optimizers.md", "docs/phases.md")

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)


def marks(document):
    """On all backends: the first pages, and what differs on each. What the others show is tested by effect on all."""
    on_all = document.name in ("README.md", "tutorial.md") or "<!-- run on" in document.read_text()
    return [] if on_all else [pytest.mark.same_everywhere]


@pytest.fixture(autouse=True)
def steps(request):
    if getattr(request.node, "callspec", None) and request.node.callspec.id not in WITH_GRAPHS:
        request.getfixturevalue("eager_steps")


@pytest.mark.parametrize(
    "document", [pytest.param(d, id=str(d.relative_to(ROOT)), marks=marks(d)) for d in DOCUMENTS if d.exists()]
)
def test_document_runs(document):
    text = document.read_text()
    if "import keras_hub" in text:
        pytest.importorskip("keras_hub", exc_type=ImportError)
    run_blocks(text, document, {"__name__": "__main__"})


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("text", "label"), examples_in_docstrings())
def test_docstring_example_runs(text, label):
    run_blocks(text, f"<the docstring of {label}>", {"__name__": label, **docstring_namespace()})


def test_blocks_that_say_why_they_are_not_run_are_left_out():
    text = "```python\na = 1\n```\n<!-- not run: needs a GPU -->\n\n```python\nb = 2\n```\n"
    assert list(python_blocks(text)) == [(1, "a = 1\n")]


def test_a_block_for_one_backend_runs_there_alone():
    text = "".join(
        f"<!-- run on {backend} -->\n\n```python\n{backend}\n```\n" for backend in ("jax", "tensorflow", "torch")
    )
    assert [code.strip() for _, code in python_blocks(text)] == [keras.backend.backend()]


def test_output_that_differs_from_what_is_shown_is_an_error():
    page = "```python\nprint(1)\nprint(2)\nprint(3)\n```\n\n```text\n1\n...\n{}\n```\n"
    run_blocks(page.format(3), "page.md", {})
    with pytest.raises(AssertionError, match="page.md:2 prints"):
        run_blocks(page.format(4), "page.md", {})


def test_a_block_gives_its_line_in_the_document():
    with pytest.raises(ZeroDivisionError) as caught:
        run_blocks("# Title\n\n```python\na = 1\na / 0\n```\n", "page.md", {})
    frame = traceback.extract_tb(caught.tb)[-1]
    assert (frame.filename, frame.lineno) == ("page.md", 5)
