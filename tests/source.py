"""The source of difflr as trees, for the tests about how it is built."""

import ast
import functools
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"


@dataclass(eq=False)
class File:
    """One file of the source: `folder` is the first name below `difflr`, or `difflr_command`."""

    path: Path
    tree: ast.Module

    @property
    def folder(self):
        package, first = (*self.path.relative_to(SRC).parts, "")[:2]
        return first.removesuffix(".py") if package == "difflr" else package

    @property
    def module(self):
        """Its name when imported, such as `difflr.plan.rows`, and `difflr.plan` for the folder itself."""
        return ".".join(self.path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__")

    @functools.cached_property
    def for_type_checkers(self):
        """The nodes that type checkers alone run."""
        tests = [node for node in self.nodes(ast.If) if ast.unparse(node.test).endswith("TYPE_CHECKING")]
        return {node for test in tests for node in ast.walk(test)}

    def at(self, node, text):
        """`node` as `file:line text`, to be read in a list of what a test found."""
        return f"{self.path.relative_to(ROOT)}:{node.lineno} {text}"

    def nodes(self, *kinds):
        return [node for node in ast.walk(self.tree) if isinstance(node, kinds)]


FILES = [File(path, ast.parse(path.read_text())) for path in sorted(SRC.rglob("*.py"))]


def listed(found):
    """What a test found, a line each."""
    return "".join(f"\n  {line}" for line in found)


def of_self(attribute):
    """Whether an attribute is one of `self`, `cls` or `super()`."""
    return ast.unparse(attribute.value) in ("self", "cls", "super()")


def is_private(name):
    return name.startswith("_") and not name.startswith("__")
