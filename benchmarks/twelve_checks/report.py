"""docs/twelve_checks.md from the results."""

from pathlib import Path
from typing import Any

from benchmarks.twelve_checks.runs import BACKENDS, SIDES, Line, Results

TEMPLATE = Path(__file__).with_name("page.md")


def cell(lines: list[Line]) -> str:
    """A check on one side of one backend: the verdict of the plain way, and whether a workaround passes."""
    plain = [line for line in lines if not line["way"]]
    if not plain:
        return ""
    verdict = plain[0]["verdict"]
    text = verdict if verdict == "passed" else f"**{verdict}**"
    workaround = any(line["verdict"] == "passed" for line in lines if line["way"])
    return f"{text}, workaround" if verdict != "passed" and workaround else text


def overview(results: Results, checks: dict[str, Any]) -> str:
    """A row for each check, a column for each side."""
    rows = [f"| | check | {' | '.join(SIDES)} |", "|---" * (len(SIDES) + 2) + "|"]
    for number, (name, check) in enumerate(checks.items(), start=1):
        cells = [on_backends(results.of(check=name, side=side)) for side in SIDES]
        rows.append(f"| {number} | {check.title} | {' | '.join(cells)} |")
    return "\n".join(rows)


def on_backends(lines: list[Line]) -> str:
    """The verdict, or, if backends differ, the verdict of each."""
    by = {backend: cell([line for line in lines if line["backend"] == backend]) for backend in BACKENDS}
    by = {BACKENDS[backend]: verdict for backend, verdict in by.items() if verdict}
    return "".join(set(by.values())) if len(set(by.values())) < 2 else "; ".join(map(": ".join, by.items()))


def counts(results: Results) -> str:
    """How many checks each side passes, on all backends together."""
    sentences = []
    for side in SIDES:
        plain = results.of(side=side, way="")
        passed = [line for line in plain if line["verdict"] == "passed"]
        more = [
            line
            for line in plain
            if line not in passed
            and any(
                other["verdict"] == "passed"
                for other in results.of(check=line["check"], side=side, backend=line["backend"])
            )
        ]
        ways = f", {len(more)} more with a workaround" if more else ""
        sentences.append(f"{side} passes {len(passed)} of {len(plain)}{ways}")
    return "; ".join(sentences) + "."


def versions(results: Results) -> str:
    """Of which Keras, and when."""
    found = sorted({f"Keras {line['keras']}, {line['date']}" for line in results.lines})
    return "; ".join(found)


def write(results: Results, docs: Path) -> Path:
    """Writes the page."""
    from benchmarks.twelve_checks.all_checks import CHECKS

    if not results.lines:
        raise ValueError(f"No check has run yet: {results.file} has no line.")
    text = TEMPLATE.read_text()
    for name, part in {
        "overview": overview(results, CHECKS),
        "counts": counts(results),
        "versions": versions(results),
    }.items():
        text = text.replace(f"{{{{ {name} }}}}", part)
    page = docs / "twelve_checks.md"
    page.write_text(text)
    return page
