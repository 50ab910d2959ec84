"""Plans on the screen: whole, and in short."""

import collections
import json
from typing import TYPE_CHECKING, Any

from rich.console import Console

from difflr.data.examples import counted
from difflr.plan.group_names import covering_names, layers_above
from difflr.plan.table import as_text, footer, table_rows
from difflr_command.table import print_table

if TYPE_CHECKING:
    import difflr

MOST_NAMES = 6


def print_plan(console: Console, plan: "difflr.Plan", learning_rate: float | None = None) -> None:
    """The plan's table: on a terminal as wide as that is, else as `print(plan)` has it."""
    if not console.is_terminal:
        console.print(as_text(plan, learning_rate))
        return
    header, lines = table_rows(plan, learning_rate)
    print_table(
        console, header, lines, left=("variables", "decided by"), optional=("number", "parameters", "decided by")
    )
    console.print(footer(plan, learning_rate))


def print_rates(console: Console, plan: "difflr.Plan", learning_rate: float) -> None:
    """The plan in short: a row for all that train at one rate, from the input to the head.

    Args:
        console: Where to.
        plan: The plan.
        learning_rate: The highest base rate.
    """
    total = collections.Counter(layer for row in plan.rows for layer in layers_above(row.path))
    groups: dict[tuple[object, ...], list[difflr.plan.Row]] = {}
    for row in plan.rows:
        groups.setdefault((row.frozen, row.multiplier, id(row.schedule)), []).append(row)
    lines = []
    for rows in groups.values():
        first = rows[0]
        schedule = f" {type(first.schedule).__name__}" if first.schedule is not None else ""
        lines.append(
            [
                _some(covering_names([row.path for row in rows], total)),
                f"{sum(row.num_parameters for row in rows):,}",
                "-" if first.frozen else f"{first.multiplier:.3g}{schedule}",
                "frozen" if first.frozen else f"{first.multiplier * learning_rate:.3g}",
            ]
        )
    header = ["layers", "parameters", "multiplier", "highest rate"]
    print_table(console, header, lines, left=("layers",), optional=("multiplier", "parameters"))
    console.print(footer(plan))
    decays = collections.Counter(row.weight_decay_multiplier for row in plan.rows if not row.frozen)
    if set(decays) - {1}:
        numbers = [f"{counted(number, 'variable')} times {decay:g}" for decay, number in sorted(decays.items())]
        console.print(f"Weight decay: {', '.join(numbers)}. `difflr plan` shows which.")


def _some(names: list[str]) -> str:
    if len(names) <= MOST_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: MOST_NAMES - 2])}, ... {names[-1]} ({len(names)} in all)"


def plan_as_data(plan: "difflr.Plan") -> dict[str, Any]:
    """The plan as plain data, as `Plan.to_json` has it."""
    return dict(json.loads(plan.to_json()))
