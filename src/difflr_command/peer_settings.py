"""Settings of other systems: from a JSON, YAML or Python file, or written on the command line. No code is run."""

import ast
import operator
import os
import pathlib
from typing import Any

from difflr.checks import read_json, shown
from difflr.yaml_text import read_yaml

MAX_CHARACTERS = 1_000_000
_NAMES = {"true": True, "false": False, "null": None}  # JSON's, on the command line
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: lambda base, exponent: float(base) ** exponent,  # an integer could grow without end
}
# The variables that are read of a Python file: what code does to them must not be overlooked.
_READ = ("optim_wrapper", "optimizer", "paramwise_cfg")


def read_settings(source: str) -> Any:
    """The settings in a file, or in the text itself.

    Args:
        source: The path of a `.json`, `.yaml`, `.yml` or `.py` file; or a Python expression of plain data, such as
            `dict(layer_decay=0.75)`, `{"stem": 0.1}` or `slice(1e-5, 1e-3)`. A Python file gives a dictionary of its
            variables: those that plain data, arithmetic and `dict(...)` define, as in configs of MMEngine.

    Raises:
        ValueError: If there is no such file, or it holds something else.
    """
    path = pathlib.Path(source)
    if path.suffix not in (".json", ".yaml", ".yml", ".py"):
        if os.path.isfile(source):
            raise ValueError(f"Settings are in a .json, .yaml, .yml or .py file. Received: {source}.")
        return _expression(source)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text.") from None
    try:
        if path.suffix == ".json":
            return read_json(text, "the settings")
        return _variables(text) if path.suffix == ".py" else read_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _expression(text: str) -> Any:
    try:
        return _value(_parsed(text.strip()).body[0].value, _NAMES)  # type: ignore[attr-defined]
    except ArithmeticError as error:
        raise ValueError(f"{shown(text)} is no number: {error}.") from None
    except (AttributeError, IndexError):
        raise ValueError(
            f"Settings are a file, or plain data such as dict(stem=0.1). Received: {shown(text)}."
        ) from None


def _variables(text: str) -> dict[str, Any]:
    """The variables of a Python file that are plain data; functions, imports and all else are left out.

    Raises:
        ValueError: If one of `_READ` is made or changed by code, or from what is.
    """
    found: dict[str, Any] = {}
    by_code: dict[str, ast.stmt] = {}
    for statement in _parsed(text).body:
        try:
            if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
                raise ValueError
            found[statement.targets[0].id] = _value(statement.value, found)  # type: ignore[attr-defined]
        except (ValueError, TypeError, ArithmeticError, AttributeError):
            for name in _touched(statement):
                found.pop(name, None)
                by_code[name] = statement
    for name in _READ:
        if name in by_code:
            statement = by_code[name]
            hidden = [used for used in _names(statement) if used in by_code and used != name]
            statement = by_code[hidden[0]] if hidden else statement
            raise ValueError(
                f"line {statement.lineno} decides about {name}, and no code is run: {shown(ast.unparse(statement))}. Write "
                "the config out whole: cfg.dump('config.py')."
            )
    return found


def _touched(statement: ast.stmt) -> set[str]:
    """The variables that a statement may set or change."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return set()
    stored = [node for node in ast.walk(statement) if isinstance(getattr(node, "ctx", None), (ast.Store, ast.Del))]
    called = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    touched = set()
    for node in [*stored, *(function for function in called if isinstance(function, ast.Attribute))]:
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        touched |= {node.id} if isinstance(node, ast.Name) else set()
    return touched


def _names(statement: ast.stmt) -> list[str]:
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]


def _parsed(text: str) -> ast.Module:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"Settings have at most {MAX_CHARACTERS} characters. Received: {len(text)}.")
    try:
        return ast.parse(text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"This is neither a file nor plain data: {shown(text)} ({error}).") from None


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    """The value of an expression that is data."""
    match node:
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [_value(item, names) for item in node.elts]
        case ast.Dict() if None not in node.keys:
            pairs = zip(node.keys, node.values, strict=True)
            return {_value(key, names): _value(value, names) for key, value in pairs if key is not None}
        case ast.Name() if node.id in names:
            return names[node.id]
        case ast.UnaryOp(op=ast.USub()):
            return -_number(node.operand, names)
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_number(node.left, names), _number(node.right, names))
        case ast.Call(func=ast.Name(id="dict"), args=[]) if all(keyword.arg for keyword in node.keywords):
            return {keyword.arg: _value(keyword.value, names) for keyword in node.keywords}
        case ast.Call(func=ast.Name(id="slice"), keywords=[]) if 1 <= len(node.args) <= 2:
            return slice(*(_value(item, names) for item in node.args))
    raise ValueError(f"Settings are plain data, and no code is run. Received: {shown(ast.unparse(node))}.")


def _number(node: ast.expr, names: dict[str, Any]) -> Any:
    value = _value(node, names)
    if not isinstance(value, (int, float)):
        raise ValueError(f"Expected a number. Received: {shown(value)}.")
    return value
