"""`tools/prose.py` finds what it should, with its line, and reads no code."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.same_everywhere


@pytest.fixture(scope="module")
def prose():
    spec = importlib.util.spec_from_file_location("prose", ROOT / "tools" / "prose.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Title\n\nThe layers thaw.\n", ":3 'thaw': unfreeze"),
        ("Good.\n\n- one\n- training goes on\n", ":4 'goes on': continues"),
        ("| a | is told |\n|---|---|\n", ":1 'is told': the active voice"),
        ("What is frozen is in no norm.\n", "the noun first"),
        (f"One.\nTwo {'word ' * 36}.\n", ":2 a sentence of 37 words"),
    ],
)
def test_a_fault_is_found_on_its_line(prose, tmp_path, monkeypatch, text, expected):
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(text)
    (found,) = prose.faults(page)
    assert expected in found


def test_docstrings_and_messages_are_read_with_their_lines(prose, tmp_path, monkeypatch):
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    module = tmp_path / "module.py"
    module.write_text('def f(anew):\n    """Fine."""\n    raise ValueError(f"{anew} goes on " "in silence")\n')
    assert [fault.split()[0] for fault in prose.faults(module)] == ["module.py:3"] * 2


def test_code_questions_and_plain_prose_have_none(prose, tmp_path, monkeypatch):
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("What is frozen?\n\n`chain_thaw` trains one group.\n\n```python\nthaw(anew)\n```\n[x](goes on)\n")
    assert list(prose.faults(page)) == []
