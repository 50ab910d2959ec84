"""`Check`: what is tried, how each side does it, and what came of it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

PASSED, FAILED, REFUSED, SLOWER = "passed", "failed", "refused", "slower"
SIDES = ("Keras", "difflr")
LONGEST = 240  # characters of an error
TRACEBACK = re.compile("Graph execution error|Detected at node|File |<stack")  # what TensorFlow puts before its errors
PLAIN = ""  # the name of the way that is tried first: as the documentation shows it


@dataclass(frozen=True)
class Outcome:
    """What came of one try.

    Args:
        verdict: `"passed"`; `"failed"` (it ran, and did something else than was asked for); `"refused"` (an error);
            `"slower"`.
        seen: One line: what was seen beside what was asked for.
    """

    verdict: str
    seen: str


@dataclass(frozen=True)
class Check:
    """One question to both sides.

    Args:
        title: Its name on the page.
        text: What is asked for, in a sentence or two.
        trial: `trial(**way)` does it and judges the effect; it knows nothing of the sides.
        keras: How Keras alone does it: name of the way -> arguments of `trial`. `PLAIN` is the documented way, the others
            are ways round.
        difflr: How difflr does it.
        alone: Whether it needs a process of its own, with two virtual devices.
    """

    title: str
    text: str
    trial: Callable[..., Outcome]
    keras: dict[str, dict[str, Any]]
    difflr: dict[str, dict[str, Any]]
    alone: bool = False

    def ways(self, side: str) -> dict[str, dict[str, Any]]:
        """How `side`, one of `SIDES`, does it."""
        return self.keras if side == "Keras" else self.difflr

    def outcomes(self, side: str) -> Iterator[tuple[str, Outcome]]:
        """Tries every way of a side: yields `(way, outcome)`."""
        ways = list(self.ways(side).items())
        for name, way in reversed(ways) if self.alone else ways:  # the plain way may leave TensorFlow's devices broken
            yield name, tried(self.trial, way)


def tried(trial: Callable[..., Outcome], way: dict[str, Any]) -> Outcome:
    """What came of `trial(**way)`; an error is a refusal."""
    try:
        return trial(**way)
    except Exception as error:
        return Outcome(REFUSED, first_line(error))


def first_line(error: BaseException) -> str:
    """The kind of an error and the beginning of what it says: a line, or more where it ends in a colon."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    lines = [line for line in lines if not TRACEBACK.match(line)] or lines
    text = lines.pop(0) if lines else ""
    while text.endswith(":") and lines:
        text = f"{text} {lines.pop(0)}"
    text = re.sub(r" at 0x[0-9a-f]+", "", text).replace("`", "'")
    return f"{type(error).__name__}: {text[:LONGEST]}{'...' if len(text) > LONGEST else ''}"


def ratios(asked: dict[str, float], seen: dict[str, float], tolerance: float = 0.02) -> Outcome:
    """Judges how far things moved.

    Args:
        asked: What -> how far it was to move.
        seen: What -> how far it moved.
        tolerance: By which part of what was asked a move may differ; what is not to move at all may not differ.
    """
    right = all(abs(seen[what] - number) <= tolerance * number for what, number in asked.items())
    said = "; ".join(f"{what} moved {seen[what]:.3g}, asked {number:.3g}" for what, number in asked.items())
    return Outcome(PASSED if right else FAILED, said)
