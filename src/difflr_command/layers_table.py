"""The layers of a model on the screen, as `difflr.summary` has them, without columns that say nothing before training."""

from typing import TYPE_CHECKING

from rich.console import Console

from difflr.report.summary import columns_of, footer
from difflr.report.summary_numbers import LayerNumbers, summary_numbers
from difflr.text_table import counted
from difflr_command.table import print_table

if TYPE_CHECKING:
    import keras

    import difflr

NARROW = ("Type", "Group", "Decay", "FLOPs", "Param #")  # columns that give way on a narrow screen, in this order


def print_layers(console: Console, model: "keras.Model", plan: "difflr.Plan", full: bool = False) -> None:
    """The layers, what lies in them, and what each would train at.

    Args:
        console: Where to.
        model: The model.
        plan: The plan.
        full: Whether layers without weights are shown, too, and the names that groups have in logs.
    """
    numbers = summary_numbers(model, plan, None)
    layers = [layer for layer in numbers.layers if full or layer.parameters]
    columns = columns_of([*layers, numbers.total], {})
    del columns["Layer (type)"]
    names = {"Layer": [*map(_name, layers), "total"], "Type": [*(type(layer.layer).__name__ for layer in layers), ""]}
    columns = {**names, **columns}
    if not full:  # the names of groups are those of logs
        groups = columns.pop("Group")
        rates = zip(groups, columns["Multiplier"], strict=True)
        columns["Multiplier"] = ["frozen" if group == "frozen" else rate for group, rate in rates]
    header = [title for title, column in columns.items() if any(cell not in ("", "-") for cell in column)]
    lines = [list(line) for line in zip(*(columns[title] for title in header), strict=True)]
    left_out = len(numbers.layers) - len(layers)
    below = [f"{counted(left_out, 'layer')} without weights: see --full"] if left_out else []
    console.print(f'Model: "{model.name}"\n')
    left = ("Layer", "Type", "Group")
    print_table(console, header, lines, left=left, optional=NARROW, footer="\n".join([*footer(numbers), *below]))


def _name(layer: LayerNumbers) -> str:
    return f"{'  ' * layer.level}{layer.layer.name}"
