"""The result of a verification: expected and measured ratios, and their table."""

import dataclasses
import math
import warnings
from collections.abc import Sequence

from difflr.checks import listed
from difflr.plan.rows import grouped
from difflr.text_table import ShownAsTable, TextTable, counted, text_table

KEPT = "kept"
BROKEN = "NOT KEPT"
FROZEN = "frozen"
MOVES = "FROZEN, MOVES"
UNUSED = "NEVER USED"
NO_GRADIENT = "no gradient in this batch"
TOO_SMALL = "below the precision of the weights"
NOT_FINITE = "NaN OR INFINITE"
OVERWRITTEN = "not judged: frozen, and changed by its own layer"
OWN_RULE = "not judged: the optimizer has an update rule of its own"
NOT_BY_RATE = "not judged: it differs in more than a factor on the rate"
RESTS = "the schedule is at 0 now"
HEADER = ("group", "variables", "expected", "measured", "")
LEFT = (0, 4)  # columns of words
BAD = (BROKEN, MOVES, UNUSED, NOT_FINITE)


@dataclasses.dataclass(frozen=True)
class VerifiedRow:
    """One variable.

    Args:
        path: Its layer-tree path.
        expected: Float, its rate over the base rate in this step, by the plan.
        measured: Float, the measured ratio; NaN if it cannot be measured.
        verdict: The verdict, as text.
        weight: Its weight in the mean of its group: the squared length of the update at rate 1.
    """

    path: str
    expected: float
    measured: float
    verdict: str
    weight: float = 0.0


class Verification(ShownAsTable):
    """The result of a verification: one row per variable, printed by group.

    Args:
        rows: One `VerifiedRow` for each variable of the plan.
        groups: For each group its label and the positions of its rows.
        faults: Other faults and likely causes, in sentences.
    """

    def __init__(
        self, rows: Sequence[VerifiedRow], groups: Sequence[tuple[str, Sequence[int]]], faults: Sequence[str] = ()
    ):
        self.rows = tuple(rows)
        self.groups = tuple((label, tuple(places)) for label, places in groups)
        self.faults = tuple(faults)

    @property
    def kept(self) -> bool:
        """Whether the plan is kept."""
        return not self.faults and not any(row.verdict in BAD for row in self.rows)

    def lines(self) -> list[tuple[str, int, float, float, str]]:
        """The table as data: label, number of variables, expected and measured ratio, verdict."""
        result = []
        for label, places in self.groups:
            by_verdict = grouped((self.rows[place] for place in places), lambda row: row.verdict)
            for verdict, rows in by_verdict.items():
                name = label if len(by_verdict) == 1 else listed_short([row.path for row in rows])
                expected = {row.expected for row in rows}
                result.append(
                    (name, len(rows), expected.pop() if len(expected) == 1 else math.nan, _mean(rows), verdict)
                )
        return result

    def table(self, footer: str = "") -> TextTable:
        """The table: expected and measured ratio of every group.

        Args:
            footer: Text below it.
        """
        cells = [
            [name, str(count), _number(expected), _number(measured), verdict]
            for name, count, expected, measured, verdict in self.lines()
        ]
        return text_table(HEADER, cells, LEFT, footer)

    def __str__(self) -> TextTable:
        return self.table("\n".join([*self._conclusion(), *self.faults]))

    def _conclusion(self) -> list[str]:
        if not self.kept:
            return []
        if not any(row.verdict == KEPT for row in self.rows):
            return ["No trainable variable could be judged."]
        seen = sum(row.verdict in (KEPT, FROZEN) for row in self.rows)
        return [f"The plan is kept: {seen} of {counted(len(self.rows), 'variable')} moved as the plan says."]

    def __repr__(self) -> str:
        bad = sum(row.verdict in BAD for row in self.rows)
        return f"<difflr.Verification: {counted(len(self.rows), 'variable')}, {'kept' if self.kept else f'{bad} not kept'}>"


class PlanNotKept(ValueError):
    """The weights do not move as the plan says.

    Args:
        verification: The `difflr.Verification` that found it; its table is the message.
    """

    def __init__(self, verification: Verification):
        super().__init__(f"The weights do not move as the plan says.\n{verification}")
        self.verification = verification


def check_kept(verification: Verification) -> None:
    """Checks a verification; warns if nothing moved, so that it tells nothing.

    Args:
        verification: The verification.

    Raises:
        PlanNotKept: If the plan is not kept.
    """
    if not verification.kept:
        raise PlanNotKept(verification)
    trained = [row for row in verification.rows if row.verdict != FROZEN]
    if trained and all(row.verdict == TOO_SMALL for row in trained):
        warnings.warn(
            f"Nothing could be verified: no weight moved, of {counted(len(trained), 'variable')} with a gradient. The base "
            "rate is too small for the precision of the weights, or the optimizer updates nothing.",
            stacklevel=3,
        )


def listed_short(paths: Sequence[str]) -> str:
    """Some paths in one column."""
    return ", ".join(paths) if len(paths) <= 2 else f"{paths[0]}, ... {paths[-1]}"


def patterns(rows: Sequence[VerifiedRow]) -> list[str]:
    """What wrong measurements have in common, in sentences.

    Args:
        rows: All rows.
    """
    wrong = [row for row in rows if row.verdict == BROKEN and not math.isnan(row.measured)]
    if not wrong:
        return []
    names = listed([row.path for row in wrong])
    if all(abs(row.measured) < 1e-6 for row in wrong):
        return [f"These do not move at all: {names}."]
    telling = [row for row in wrong if row.expected not in (0.0, 1.0)]
    if len(telling) == len(wrong):
        if all(_is(row, row.expected**2) for row in wrong):
            return [f"The multiplier is applied twice: {names} move as far as its square says."]
        if all(_is(row, 1.0) for row in wrong):
            return [
                f"No multiplier reaches the rate: {names} move as with multiplier 1. (Scaling gradients instead of the "
                "rate has this effect with Adam and similar optimizers.)"
            ]
    factors = [row.measured / row.expected for row in wrong if row.expected]
    if len(wrong) > 1 and factors and all(_near(factor, factors[0]) for factor in factors):
        return [f"All of these move {factors[0]:.3g} times as far as the plan says: {names}."]
    values = {round(row.measured, 3) for row in wrong}
    if len(values) == 1 and len({row.expected for row in wrong}) > 1:
        return [f"They all move at one rate, {wrong[0].measured:.3g}, where the plan has several: {names}."]
    return [f"These move differently: {names}."]


def _is(row: VerifiedRow, other: float) -> bool:
    """Whether a row moved at the ratio `other`, within a tenth of its distance from the expected one."""
    return abs(row.measured - other) < 0.1 * abs(row.expected - other)


def _near(number: float, other: float) -> bool:
    return math.isclose(number, other, rel_tol=0.02)


def _mean(rows: Sequence[VerifiedRow]) -> float:
    seen = [row for row in rows if not math.isnan(row.measured)]
    total = sum(row.weight for row in seen)
    if not seen:
        return math.nan
    if total == 0:
        return sum(row.measured for row in seen) / len(seen)
    return sum(row.measured * row.weight for row in seen) / total


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"
