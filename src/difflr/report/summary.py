"""`difflr.summary`: `model.summary()` with groups, rates and what freezing saves."""

import itertools
import re
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import keras
import rich.console
import rich.markup
import rich.table

from difflr.plan import Plan
from difflr.report.summary_numbers import LayerNumbers, SummaryNumbers, summary_numbers

WIDTH = 130


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
    """Prints the layers of a model as `model.summary()` does, with who trains at which rate.

    For each layer: its parameters; its groups, by the names that logs and pictures use; the multiplier and the effective
    rate of this moment (of the smallest to the largest of its weights), the factor on the weight decay; the memory of the
    optimizer's state for it, and its part in the arithmetic of the forward pass. Below the table: what is trained and what
    is frozen, and the share of a step's arithmetic that freezing saves. In a notebook it is HTML.

    The arithmetic is an estimate: two operations for each weight of a matrix or a convolution at each position, in the
    forward pass, as many again for its gradient where it is trainable, and as many for the gradient of its input where
    something before it is trainable. Norms, activations, the products inside attention and the optimizer are left out.

    Args:
        model: A built model; compiled or not.
        line_length: Integer, the width of the table. Defaults to the terminal's, at most 130.
        positions: Where the columns end, each a part of the width, ascending to 1. Defaults to what they need.
        print_fn: Receives the text. Defaults to printing in colour.
        expand_nested: Boolean, whether to show the layers of nested models.
        show_trainable: Boolean, whether to add the column `Trainable`.
        layer_range: Two names or regular expressions: the first and the last layer to be shown, as in Keras.
        plan: A `difflr.Plan`; `None` for that of the model's optimizer, or what its layers declare.
        num_steps: Integer, the number of steps of the training. Adds the rates at its start, at the end of its warm-up, in
            its middle and at its end.

    Raises:
        ValueError: If the model is not built, or an argument is out of its range.

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
    width = line_length or min(WIDTH, shutil.get_terminal_size().columns)
    table = _table(numbers, width, positions, expand_nested, show_trainable, layer_range)
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
    for line in footer(numbers):
        console.print(f" {line}")
    if print_fn:
        print_fn(console.end_capture())


def _table(
    numbers: SummaryNumbers,
    width: int,
    positions: Sequence[float] | None,
    expand_nested: bool,
    show_trainable: bool,
    layer_range: Sequence[str] | None,
) -> rich.table.Table:
    header = ["Layer (type)", "Param #", "Group", "Multiplier", "Rate now", "Decay", "State", "FLOPs"]
    header += [f"{moment.name} ({moment.step})" for moment in numbers.moments]
    header += ["Trainable"] if show_trainable else []
    table = rich.table.Table(width=width)
    for number, name in enumerate(header):
        column_width = _width(positions, number, len(header), width)
        table.add_column(name, justify="left" if name in ("Layer (type)", "Group") else "right", width=column_width)
    shown = [each for each in _in_range(numbers.layers, layer_range) if expand_nested or each.level == 0]
    for each in shown:
        table.add_row(*cells(each, show_trainable))
    table.add_section()
    table.add_row(*["total", *cells(numbers.total, show_trainable)[1:]])
    return table


def cells(each: LayerNumbers, show_trainable: bool = False) -> list[str]:
    """The numbers of a layer as text.

    Args:
        each: The numbers.
        show_trainable: Whether to say if it is trainable.
    """
    prefix = "   " * each.level + "└ " if each.level else ""
    empty = not each.groups and not each.parameters
    frozen = bool(each.parameters) and not each.trainable
    line = [
        rich.markup.escape(f"{prefix}{each.layer.name} ({type(each.layer).__name__})"),
        f"{each.parameters:,}",
        "" if empty else rich.markup.escape(_some(each.groups) or ("frozen" if frozen else "")),
        "" if empty else ("0" if frozen else span(each.multipliers)),
        "" if empty else ("0" if frozen else span(each.rates)),
        "" if empty or frozen else span(each.decays),
        "-" if each.state is None else memory(each.state),
        "-" if each.flops is None else f"{100 * each.flops:.1f} %",
        *("" if empty else ("0" if frozen else span(rates)) for rates in each.rates_at),
    ]
    if show_trainable:
        line.append(
            "-" if not each.layer.weights else "Y" if each.trainable == each.planned else "N" if frozen else "partly"
        )
    return line


def footer(numbers: SummaryNumbers) -> list[str]:
    """What is below the table.

    Args:
        numbers: The numbers.
    """
    total = numbers.total
    lines = [
        f"Total params: {total.parameters:,}",
        f"Trained now: {total.trainable:,} in {len(total.groups)} group{'s' if len(total.groups) != 1 else ''}",
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


def _width(positions: Sequence[float] | None, number: int, columns: int, width: int) -> int | None:
    if positions is None:
        return None
    if len(positions) != columns or any(late <= early for early, late in itertools.pairwise(positions)):
        raise ValueError(
            f"`positions` must be {columns} ascending numbers, one for each column. Received: {list(positions)}."
        )
    ends = [int(position * width) if position <= 1 else int(position) for position in positions]
    room = ends[number] - (ends[number - 1] if number else 0) - 3  # a line and two spaces
    if room < 4:
        raise ValueError(
            f"Column {number + 1} has {room} characters; each needs 4. Give `line_length`, or less columns."
        )
    return room


def _in_range(layers: Sequence[LayerNumbers], layer_range: Sequence[str] | None) -> list[LayerNumbers]:
    if layer_range is None:
        return list(layers)
    if len(layer_range) != 2 or not all(isinstance(name, str) for name in layer_range):
        raise ValueError(f"`layer_range` must be two names or regular expressions. Received: {layer_range!r}.")
    outer = [number for number, each in enumerate(layers) if each.level == 0]
    first = [number for number in outer if re.match(layer_range[0], layers[number].layer.name)]
    last = [number for number in outer if re.match(layer_range[1], layers[number].layer.name)]
    if not first or not last:
        name = layer_range[0] if not first else layer_range[1]
        names = ", ".join(layers[number].layer.name for number in outer[:8])
        raise ValueError(f"`layer_range`: no layer's name matches {name!r}. The layers are {names}.")
    ends = sorted((first[0], last[-1]))
    stop = next((number for number in outer if number > ends[1]), len(layers))
    return list(layers[ends[0] : stop])
