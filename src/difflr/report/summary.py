"""`difflr.summary`: `model.summary()` with groups, rates and what freezing saves."""

import itertools
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import rich.console
import rich.markup
import rich.table

from difflr.plan import Plan
from difflr.report.summary_numbers import LayerNumbers, SummaryNumbers, summary_numbers
from difflr.text_table import counted

WIDTH = 130
BORDERS = 3  # a line and two spaces, of each column
DISPENSABLE = ("FLOPs", "State", "Decay", "Group", "Param #", "Trainable")  # give way in a narrow terminal, in order


def summary(
    model: keras.Model,
    line_length: int | None = None,
    positions: Sequence[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: Sequence[str] | None = None,
    *,
    plan: Plan | None = None,
    num_steps: int | None = None,
) -> None:
    """Prints the layers of a model as `model.summary()` does, with the learning rates.

    Columns: each layer's parameters, groups (named as in logs and plots), multiplier, current effective rate (a range if
    its weights differ), weight-decay multiplier, optimizer memory, and share of the forward pass's arithmetic. Below the
    table: how much is trained and frozen, and the share of a step's arithmetic that freezing saves. Notebooks show HTML.
    Names are never cut: a narrow terminal shows fewer columns or, if necessary, a wider table.

    The arithmetic is an estimate: two operations for each weight of a matrix or a convolution at each position in the
    forward pass. A trainable weight costs as much again for its gradient. A layer with trainable layers below it costs as
    much again for the gradient of its input. Norms, activations, the products inside attention and the optimizer
    are left out.

    Args:
        model: A built model; compiled or not.
        line_length: Integer, the width of the table. Defaults to the terminal's, at most 130.
        positions: The ends of the columns, as ascending fractions of the width up to 1. By default they fit the content.
        print_fn: Receives the text. Defaults to printing in color.
        expand_nested: Boolean, whether to show the layers of nested models.
        show_trainable: Boolean, whether to add the column `Trainable`.
        layer_range: Two names or regular expressions: the first and the last layer to be shown, as in Keras.
        plan: A `difflr.Plan`; `None` for `difflr.plan_of(model)`.
        num_steps: Integer, the steps of the training. Adds the rates at the start, after the warm-up, in the middle and at
            the end.

    Raises:
        ValueError: If the model is not built, or an argument is out of range.

    Example:

    ```python
    import keras
    import difflr

    layers = [keras.layers.Dense(8, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    plan = difflr.Plan(model, {"body": 0.1})
    rate = difflr.schedules.WarmupCosine(1e-3, warmup_steps=100, num_steps=1000)
    model.compile(difflr.optimizers.Adam(rate, multipliers=plan), loss="mse")
    difflr.summary(model, num_steps=1000)
    ```

    Reference: `keras.Model.summary`.
    """
    numbers = summary_numbers(model, plan, num_steps)
    width = line_length or min(WIDTH, shutil.get_terminal_size((WIDTH, 0)).columns)
    layers = [layer for layer in _in_range(numbers.layers, layer_range) if expand_nested or layer.level == 0]
    columns = columns_of([*layers, numbers.total], numbers.moments, show_trainable)
    columns["Layer (type)"][-1] = "total"
    left_out = [] if positions is not None else _left_out(columns, width)
    columns = {name: column for name, column in columns.items() if name not in left_out}
    screen, widths = width, _fitted(columns, width) if positions is None else _placed(positions, len(columns), width)
    if positions is None:
        width = max(width, sum(widths) + BORDERS * len(columns) + 1)
    table = rich.table.Table(width=width)
    for name, column_width in zip(columns, widths, strict=True):
        justify: Literal["left", "right"] = "left" if name in ("Layer (type)", "Group") else "right"
        table.add_column(name, justify=justify, width=column_width, overflow="fold")
    for number, row in enumerate(zip(*columns.values(), strict=True)):
        table.add_row(*map(rich.markup.escape, row), end_section=number == len(layers) - 1)
    console = rich.console.Console(
        highlight=False,
        width=width,
        force_terminal=False if print_fn else None,
        color_system=None if print_fn else "auto",
    )
    if print_fn:
        console.begin_capture()
    console.print(f'[bold]Model: "{rich.markup.escape(model.name)}"[/]')
    console.print(table)
    lines = footer(numbers)
    if left_out:
        lines.append(f"Left out at a width of {screen}: {', '.join(left_out)}. A larger `line_length` shows them.")
    console.print("\n".join(f" {line}" for line in lines))  # at once: a notebook leaves room around each output
    if print_fn:
        print_fn(console.end_capture())


def columns_of(
    layers: Sequence[LayerNumbers], moments: dict[int, str], show_trainable: bool = False
) -> dict[str, list[str]]:
    """The table as text, column by column: header -> a cell for each layer.

    Args:
        layers: The layers.
        moments: The steps for which rates are shown, and their names.
        show_trainable: Whether there is a column that says whether a layer trains.
    """

    def column(cell: Callable[[LayerNumbers], str], frozen: str = "") -> list[str]:
        return ["" if not layer.parameters else frozen if not layer.trainable else cell(layer) for layer in layers]

    columns = {
        "Layer (type)": [_name(layer) for layer in layers],
        "Param #": [f"{layer.parameters:,}" for layer in layers],
        "Group": column(lambda layer: _some(layer.groups), "frozen"),
        "Multiplier": column(lambda layer: span(layer.multipliers), "0"),
        "Rate now": column(lambda layer: span(layer.rates), "0"),
        "Decay": column(lambda layer: span(layer.decays)),
        "State": ["-" if layer.state is None else memory(layer.state) for layer in layers],
        "FLOPs": ["-" if layer.flops is None else f"{100 * layer.flops:.1f} %" for layer in layers],
    }
    for number, (step, name) in enumerate(moments.items()):
        columns[f"{name} ({step})"] = column(lambda layer, number=number: span(layer.rates_at[number]), "0")  # type: ignore[misc]
    if show_trainable:
        columns["Trainable"] = [_trainable(layer) for layer in layers]
    return columns


def _name(layer: LayerNumbers) -> str:
    prefix = "   " * layer.level + "└ " if layer.level else ""
    return f"{prefix}{layer.layer.name} ({type(layer.layer).__name__})"


def _trainable(layer: LayerNumbers) -> str:
    if not layer.layer.weights:
        return "-"
    return "Y" if layer.trainable == layer.planned else "partly" if layer.trainable else "N"


def _needed(columns: dict[str, list[str]]) -> dict[str, int]:
    """How wide each column is at least, with its border."""
    return {name: max(map(len, " ".join([name, *cells]).split())) + BORDERS for name, cells in columns.items()}


def _fitted(columns: dict[str, list[str]], width: int) -> list[int]:
    """The width of each column: words are whole, and what room is left goes to numbers first, from the right."""
    needed = _needed(columns)
    rest = max(0, width - 1 - sum(needed.values()))
    widths = []
    for name, cells in reversed(columns.items()):
        more = min(rest, max(map(len, [name, *cells])) + BORDERS - needed[name])
        rest -= more
        widths.append(needed[name] - BORDERS + more)
    return [widths.pop() + rest, *reversed(widths)]


def _left_out(columns: dict[str, list[str]], width: int) -> list[str]:
    """The columns for which there is no room. Lines break between words, which are never cut."""
    needed = _needed(columns)
    left_out: list[str] = []
    for name in DISPENSABLE:
        if name in needed and sum(needed.values()) + 1 > width:
            left_out.append(name)
            del needed[name]
    return left_out


def footer(numbers: SummaryNumbers) -> list[str]:
    """The text below the table.

    Args:
        numbers: The numbers.
    """
    total = numbers.total
    lines = [
        f"Total params: {total.parameters:,}",
        f"Trained now: {total.trainable:,} in {counted(len(total.groups), 'group')}",
        f"Not trained: {total.parameters - total.trainable:,}",
    ]
    if numbers.optimizer_state is not None:
        lines.append(f"Optimizer state: {memory(numbers.optimizer_state)}")
    if numbers.saved is not None and numbers.saved > 0.0005:
        lines.append(f"Freezing saves {100 * numbers.saved:.0f} % of a step's arithmetic (an estimate)")
    return lines


def span(values: Sequence[float]) -> str:
    """One value, or the smallest and the largest."""
    if not values:
        return "-"
    return f"{values[0]:.3g}" if len(values) == 1 else f"{values[0]:.3g} to {values[-1]:.3g}"


def memory(size: int) -> str:
    """Bytes in the unit that fits."""
    number = float(size)
    for unit in ("B", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.2f} {unit}"
        number /= 1024
    return f"{number:.2f} TB"


def _some(labels: Sequence[str]) -> str:
    return ", ".join(labels) if len(labels) <= 2 else f"{labels[0]} and {len(labels) - 1} more"


def _placed(positions: Sequence[float], columns: int, width: int) -> list[int]:
    """The width of each column, that ends at a position."""
    if len(positions) != columns or any(late <= early for early, late in itertools.pairwise(positions)):
        raise ValueError(
            f"`positions` must be {columns} ascending numbers, one for each column. Received: {list(positions)}."
        )
    ends = [0, *(int(position * width) if position <= 1 else int(position) for position in positions)]
    widths = [end - begin - BORDERS for begin, end in itertools.pairwise(ends)]
    for number, room in enumerate(widths, start=1):
        if room < 4:
            raise ValueError(
                f"Column {number} has {room} characters; 4 are needed. Pass a larger `line_length`, or fewer columns."
            )
    return widths


def _in_range(layers: Sequence[LayerNumbers], layer_range: Sequence[str] | None) -> list[LayerNumbers]:
    if layer_range is None:
        return list(layers)
    if len(layer_range) != 2 or not all(isinstance(name, str) for name in layer_range):
        raise ValueError(f"`layer_range` must be two names or regular expressions. Received: {layer_range!r}.")
    outer = [number for number, layer in enumerate(layers) if layer.level == 0]
    first = [number for number in outer if re.match(layer_range[0], layers[number].layer.name)]
    last = [number for number in outer if re.match(layer_range[1], layers[number].layer.name)]
    if not first or not last:
        name = layer_range[0] if not first else layer_range[1]
        names = ", ".join(layers[number].layer.name for number in outer[:8])
        raise ValueError(f"`layer_range`: no layer's name matches {name!r}. The layers are {names}.")
    ends = sorted((first[0], last[-1]))
    stop = next((number for number in outer if number > ends[1]), len(layers))
    return list(layers[ends[0] : stop])
