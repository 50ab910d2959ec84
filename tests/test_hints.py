"""What errors and warnings advise: names of difflr in them are there."""

import ast
import re
from pathlib import Path

import pytest

import difflr

SOURCE = Path(difflr.__file__).parent
OTHERS = ("difflr.caffe", "difflr.json")  # a protobuf package; a file in a model's file
pytestmark = pytest.mark.same_everywhere


def texts():
    """Every text in the package that is no docstring, as (file, text); an f-string's texts one by one."""
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text())
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
                yield path.relative_to(SOURCE), node.value


def is_there(name):
    thing = difflr
    for part in name.split(".")[1:]:
        if not hasattr(thing, part):
            return False
        thing = getattr(thing, part)
    return True


def test_names_of_difflr_in_errors_are_there():
    found = [(str(path), name) for path, text in texts() for name in re.findall(r"difflr(?:\.[A-Za-z_]\w*)+", text)]
    assert len(found) > 50
    assert [each for each in found if not (is_there(each[1]) or each[1].startswith(OTHERS))] == []
