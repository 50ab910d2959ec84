"""docs/versions.md: its tables, from the numbers in docs/measured/versions.json."""

import json
import re
import xml.etree.ElementTree as ElementTree
from datetime import date
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
COUNTS = ("passed", "failed", "skipped")
BACKENDS = {"jax": "JAX", "tensorflow": "TensorFlow", "torch": "PyTorch"}


def outcome(case: ElementTree.Element) -> tuple[str, str]:
    """What became of a test in pytest's report, and the first line of why."""
    for kind in ("failure", "error", "skipped"):
        found = case.find(kind)
        if found is not None:
            told = (found.get("message") or kind).strip().splitlines()[0]
            return ("skipped" if kind == "skipped" else "failed"), told
    return "passed", ""


def cell(python: str, keras: str, backend: str, told: str, report: Path, seconds: float) -> dict[str, Any]:
    """One row of the matrix.

    Args:
        python: The version of Python, such as `"3.14"`.
        keras: What was asked for, a version or `"nightly"`.
        backend: Which.
        told: The versions of Keras and of the backend that were there, or nothing if they cannot be imported.
        report: What pytest wrote with `--junitxml`.
        seconds: How long it took.
    """
    cases = list(ElementTree.parse(report).iter("testcase")) if report.exists() else []
    found = [(f"{case.get('classname')}::{case.get('name')}", *outcome(case)) for case in cases]
    versions = re.findall(r"\d\S+", told) or ["", ""]
    return {
        "python": python,
        "keras": keras,
        "keras_version": versions[0],
        "backend": backend,
        "backend_version": versions[-1],
        **{kind: sum(each == kind for _, each, _ in found) for kind in COUNTS},
        "seconds": round(seconds),
        "date": date.today().isoformat(),
        "failures": [
            told if told.startswith("Failed: Keras ") else f"{test}: {told}"
            for test, each, told in found
            if each == "failed"
        ],
    }


def keep(row: dict[str, Any], table: str = "matrix", key: tuple[str, ...] = ("python", "keras", "backend")) -> None:
    """Puts `row` in its place among the others, and writes the page again."""
    file = DOCS / "measured" / "versions.json"
    held = json.loads(file.read_text()) if file.exists() else {}
    others = [each for each in held.get(table, []) if any(each[name] != row[name] for name in key)]
    held[table] = sorted([*others, row], key=lambda each: [in_order(str(each[name])) for name in key])
    file.write_text(json.dumps(held, indent=1) + "\n")
    write(held)


def in_order(version: str) -> list[tuple[int, str]]:
    """So that 3.9 comes before 3.14, and names after numbers."""
    return [(int(part), "") if part.isdigit() else (10**6, part) for part in version.split(".")]


def write(held: dict[str, Any]) -> None:
    """Puts the tables between the marks in docs/versions.md."""
    page = DOCS / "versions.md"
    text = page.read_text()
    for name, make in (("matrix", matrix_table), ("keras_own", own_table)):
        begin, end = f"<!-- {name}: made by a command -->\n", f"<!-- {name}: end -->"
        before, rest = text.split(begin)
        text = before + begin + "\n" + make(held.get(name, [])) + "\n\n" + end + rest.split(end)[1]
    page.write_text(text)


def line(row: dict[str, Any]) -> str:
    """One row in words."""
    counts = ", ".join(f"{row[kind]} {kind}" for kind in COUNTS)
    return f"Python {row['python']}, Keras {row['keras_version'] or row['keras']}, {row['backend']}: {counts}"


def table(titles: list[str], rows: list[list[Any]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(map(str, each)) + " |" for each in lines)


def matrix_table(rows: list[dict[str, Any]]) -> str:
    """The Keras versions whose tests pass, a row for each Python and a column for each backend."""
    cells: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for row in rows:
        keras = f"**{row['keras']} ({row['failed']} failed)**" if row["failed"] else row["keras"]
        cells.setdefault((row["python"],), {}).setdefault(row["backend"], []).append(keras)
    failures = [f"- {line(row).split(':')[0]}: `{each}`" for row in rows for each in row["failures"]]
    dates = list(dict.fromkeys([min(row["date"] for row in rows), max(row["date"] for row in rows)])) if rows else []
    measured = f"Measured {' to '.join(dates)}." if rows else ""
    return "\n\n".join(part for part in (by_backend(["Python"], cells), "\n".join(failures), measured) if part)


def own_table(rows: list[dict[str, Any]]) -> str:
    """What became of Keras's own tests, a column for each backend."""
    words = {"passed": "passed", "expected": "intended difference", "stock": "fails in stock Keras, too"}
    words |= {"skipped": "skipped by Keras", "failed": "**failed**"}
    cells: dict[tuple[str, ...], dict[str, list[str]]] = {}
    for kind, word in words.items():
        for backend in BACKENDS:
            number = sum(row[kind] for row in rows if row["backend"] == backend)
            if number:
                cells.setdefault((word,), {})[backend] = [f"{number:,}"]
    return by_backend(["tests"], cells)


def by_backend(titles: list[str], cells: dict[tuple[str, ...], dict[str, list[str]]]) -> str:
    """A row for each key, a column for each backend."""
    rows = [[*key, *(", ".join(found.get(backend, [])) for backend in BACKENDS)] for key, found in cells.items()]
    return table([*titles, *BACKENDS.values()], rows)
