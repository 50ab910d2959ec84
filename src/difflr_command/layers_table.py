"""The layers of a model on the screen, as `difflr.summary` has them, without columns that say nothing before training."""

from typing import TYPE_CHECKING

from rich.console import Console

from difflr.report.summary import cells, footer
from difflr.report.summary_numbers import summary_numbers
from difflr_command.table import print_table

if TYPE_CHECKING:
    import keras

    import difflr

HEADER = ["layer (type)", "parameters", "group", "multiplier", "rate now", "decay", "state", "arithmetic"]


def print_layers(console: Console, model: "keras.Model", plan: "difflr.Plan") -> None:
    """The layers, what lies in them, and what each would train at.

    Args:
        console: Where to.
        model: The model.
        plan: The plan.
    """
    numbers = summary_numbers(model, plan, None)
    lines = [cells(each) for each in numbers.layers]
    lines.append(["total", *cells(numbers.total)[1:]])
    says = [any(line[column] not in ("", "-") for line in lines) for column in range(len(HEADER))]
    header = [title for title, kept in zip(HEADER, says, strict=True) if kept]
    lines = [[cell for cell, kept in zip(line, says, strict=True) if kept] for line in lines]
    console.print(f'Model: "{model.name}"\n')
    narrow = ("group", "decay", "arithmetic", "parameters")
    print_table(console, header, lines, left=("layer (type)", "group"), optional=narrow)
    console.print()
    for line in footer(numbers):
        console.print(line)
