"""Plans on the screen."""

from typing import TYPE_CHECKING

from rich.console import Console

from difflr.plan.table import LEFT, OPTIONAL, as_text, footer, table_rows
from difflr_command.table import print_table, width_of

if TYPE_CHECKING:
    import difflr


def print_plan(console: Console, plan: "difflr.Plan", learning_rate: float | None = None, full: bool = False) -> None:
    """The plan's table: on a terminal as wide as that is, else as `print(plan)` has it."""
    console.print(as_text(plan, learning_rate, full=full, width=width_of(console)))


def print_rates(console: Console, plan: "difflr.Plan", learning_rate: float) -> None:
    """The plan in short, with the highest rate of all that trains alike.

    Args:
        console: Where to.
        plan: The plan.
        learning_rate: The highest base rate.
    """
    header, lines = table_rows(plan, learning_rate)
    number = header.index("number")
    header = ["highest rate" if title == "effective rate" else title for title in header if title != "number"]
    lines = [[*line[:number], *line[number + 1 :]] for line in lines]
    print_table(console, header, lines, left=LEFT, optional=OPTIONAL, footer=footer(plan))
