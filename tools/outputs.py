"""Writes down what the examples print: in examples/README.md and docs/tutorial.md, which it also makes a notebook.

    KERAS_BACKEND=torch python tools/outputs.py

`tests/examples/test_outputs.py` compares what is written with what the code prints.
"""

import ast
import base64
import contextlib
import dataclasses
import importlib
import io
import json
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TUTORIAL = ROOT / "docs" / "tutorial.md"
NOTEBOOK = ROOT / "examples" / "tutorial.ipynb"
OVERVIEW = ROOT / "examples" / "README.md"
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n"  # the code
    r"(?:\n```text\n(?P<shown>.*?)^```\n)?"  # what it shows
    r"(?:\n!\[.*?\]\(.*?\)\n)?",  # and its figure
    re.MULTILINE | re.DOTALL,
)
EXAMPLE = re.compile(r"^## \[(?P<name>\w+)\.py\].*?^```text\n(?P<shown>.*?)^```$", re.M | re.S)


@dataclasses.dataclass
class Ran:
    """What a block printed, the value of its last line, and its figure as PNG."""

    printed: str
    value: object = None
    figure: bytes = b""

    @property
    def shown(self):
        """As text."""
        return self.printed + ("" if self.value is None else f"{self.value}\n")


def run_block(code, namespace):
    """Runs it as a notebook would."""
    import matplotlib.pyplot as plt

    tree, value = ast.parse(code), None
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, "<block>", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<block>", "eval"), namespace)
    figure = io.BytesIO()
    if plt.get_fignums():
        plt.savefig(figure, format="png", dpi=80, bbox_inches="tight")
        plt.close("all")
    return Ran(printed.getvalue(), value if hasattr(value, "_repr_html_") else None, figure.getvalue())


def run_page(page):
    """Runs the blocks of a page in order, in a folder of their own."""
    namespace = {"__name__": "__main__"}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        return [run_block(block["code"], namespace) for block in BLOCK.finditer(page)]


def with_outputs(page, runs):
    """The page with what its blocks showed."""
    runs = iter(runs)

    def block(match):
        ran = next(runs)
        shown = f"\n```text\n{ran.shown}```\n" if ran.shown else ""
        image = "\n![The images](images/tutorial.png)\n" if ran.figure else ""
        return f"```python\n{match['code']}```\n{shown}{image}"

    return BLOCK.sub(block, page)


def sources(page):
    """The cells of the notebook, as (its kind, its text)."""
    cells, place = [], 0
    for match in BLOCK.finditer(page):
        cells += [("markdown", page[place : match.start()]), ("code", match["code"])]
        place = match.end()
    cells.append(("markdown", page[place:]))
    return [
        (kind, (re.sub(r"\]\((?!http)", "](../docs/", text) if kind == "markdown" else text).strip())
        for kind, text in cells
        if text.strip()
    ]


def notebook(page, runs):
    """The page as a notebook, with what its blocks showed."""
    runs, cells, count = iter(runs), [], 0
    for number, (kind, text) in enumerate(sources(page)):
        cell = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": text.splitlines(keepends=True)}
        if kind == "code":
            count += 1
            cell |= {"execution_count": count, "outputs": outputs(next(runs), count)}
        cells.append(cell)
    metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def outputs(ran, count):
    """What a notebook keeps of it."""
    result = []
    if ran.printed:
        result.append({"name": "stdout", "output_type": "stream", "text": ran.printed.splitlines(keepends=True)})
    if ran.value is not None:
        data = {"text/html": [ran.value._repr_html_()], "text/plain": [repr(ran.value)]}
        result.append({"data": data, "execution_count": count, "metadata": {}, "output_type": "execute_result"})
    if ran.figure:
        data = {"image/png": base64.b64encode(ran.figure).decode()}
        result.append({"data": data, "metadata": {}, "output_type": "display_data"})
    return result


def run_example(name):
    """What an example prints."""
    sys.path.insert(0, str(OVERVIEW.parent))
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            importlib.import_module(name).main()
    finally:
        sys.path.remove(str(OVERVIEW.parent))
    return printed.getvalue()


def main():
    """Writes all of it."""
    page = TUTORIAL.read_text()
    runs = run_page(page)
    page = with_outputs(page, runs)
    TUTORIAL.write_text(page)
    NOTEBOOK.write_text(json.dumps(notebook(page, runs), indent=1, ensure_ascii=False) + "\n")
    for ran in filter(lambda ran: ran.figure, runs):
        (ROOT / "docs" / "images" / "tutorial.png").write_bytes(ran.figure)

    def example(match):
        return match[0].replace(f"```text\n{match['shown']}", f"```text\n{run_example(match['name'])}")

    OVERVIEW.write_text(EXAMPLE.sub(example, OVERVIEW.read_text()))


if __name__ == "__main__":
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.pop("COLUMNS", None)  # tables as in a pipe, whatever the terminal's width
    main()
