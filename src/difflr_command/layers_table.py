"""The layers of a model on the screen, as `difflr.summary` has them, without columns that say nothing before training."""

from typing import TYPE_CHECKING

from rich.console import Console

from difflr.report.summary import columns_of, footer
from difflr.report.summary_numbers import summary_numbers
from difflr_command.table import print_table

if TYPE_CHECKING:
    import keras

    import difflr


def print_layers(console: Console, model: "keras.Model", plan: "difflr.Plan") -> None:
    """The layers, what lies in them, and what each would train at.

    Args:
        console: Where to.
        model: The model.
        plan: The plan.
    """
    numbers = summary_numbers(model, plan, None)
    columns = columns_of([*numbers.layers, numbers.total], {})
    columns["Layer (type)"][-1] = "total"
    header = [title for title, column in columns.items() if any(cell not in ("", "-") for cell in column)]
    lines = [list(line) for line in zip(*(columns[title] for title in header), strict=True)]
    console.print(f'Model: "{model.name}"\n')
    narrow = ("Group", "Decay", "FLOPs", "Param #")
    print_table(console, header, lines, left=("Layer (type)", "Group"), optional=narrow)
    console.print()
    for line in footer(numbers):
        console.print(line)
