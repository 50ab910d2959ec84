"""What `difflr evaluate` does: reads model and data, predicts batch by batch, shows what is right and wrong."""

import dataclasses
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

import difflr
from difflr.data.examples import check_skipped, some
from difflr.report.measured import Measured
from difflr.report.write_evaluation import write_evaluation, write_pictures
from difflr.text_table import counted
from difflr_command import console, settings
from difflr_command.data_options import pixels
from difflr_command.labeled import Columns, Labeled, labeled
from difflr_command.network import How, Network
from difflr_command.progress import reading
from difflr_command.table import print_table

MOST_SHOWN = 10
LONGEST_LINE = 80


@dataclasses.dataclass(frozen=True)
class Asked:
    """The options of `difflr evaluate`; see there."""

    model: Path
    data: Path
    report: Path | None = None
    pictures: Path | None = None
    batch_size: int = 32
    scale: str | None = None
    size: str | None = None
    text_column: str | None = None
    file_column: str | None = None
    label_column: str = "label"


def evaluate_files(asked: Asked, as_json: bool) -> None:
    """Runs it all; errors become one line and an exit code."""
    with console.quiet(as_json) as out:
        with console.bad_input():
            network = Network(asked.model, How(asked.scale, pixels(asked.size)))
            data = labeled(network, asked.data, Columns(asked.text_column, asked.file_column, asked.label_column))
        with console.running("nothing is written"):
            with reading(out, "examples", "predicting") as on_example:
                found, skipped = measured(network, data, asked.batch_size, on_example)
            notes = [*data.notes, *_notes_of(skipped)]
            if not as_json:
                show(out, asked, network, found, notes)
            written = _write(asked, network, found, data.notes, skipped)
    result = {
        "difflr": difflr.__version__,
        "backend": keras.backend.backend(),
        "model": str(asked.model),
        "data": str(asked.data),
        "task": network.info.task,
        **found.as_data(),
        "skipped": [list(pair) for pair in skipped],
        "notes": data.notes,
        "written": [str(path) for path in written],
    }
    if as_json:
        console.print_json(result)
    elif written:
        out.print(f"\nWritten: {', '.join(map(str, written))}")


def measured(
    network: Network, data: Labeled, batch_size: int, on_example: Callable[[int, int], None]
) -> tuple[Measured, list[tuple[str, str]]]:
    """What the network gets right and wrong, and what could not be read.

    Args:
        network: The network.
        data: Examples with answers.
        batch_size: How many are predicted at once.
        on_example: Called with how many are predicted, and how many there are.

    Raises:
        ValueError: If too much cannot be read.
    """
    kept: list[int] = []
    scores: list[np.ndarray] = []
    skipped: list[tuple[str, str]] = list(data.skipped)
    for positions, inputs in _batches(data, batch_size, skipped):
        scores.append(network.predict(inputs, batch_size))
        kept += positions
        on_example(positions[-1] + 1, len(data))
    check_skipped(skipped, len(data) + len(data.skipped), str(data.path))
    names = [data.names[position] for position in kept]
    probabilities = np.concatenate(scores)
    class_names = () if network.info.task == "numbers" else network.class_names

    def show(position: int) -> np.ndarray | str:
        return data.show(kept[position])

    found = difflr.evaluation(
        data.y[kept], probabilities, class_names, names=names, show=show if data.can_be_shown else None
    )
    return found, skipped


def _batches(data: Labeled, batch_size: int, skipped: list[tuple[str, str]]) -> Iterator[tuple[list[int], np.ndarray]]:
    """The examples that can be read: positions and inputs; what cannot is added to `skipped`."""
    positions: list[int] = []
    inputs: list[np.ndarray | str] = []
    for position, (one, reason) in enumerate(data.read()):
        if one is None:
            skipped.append((data.names[position], reason or "cannot be read"))
            continue
        positions.append(position)
        inputs.append(one)
        if len(inputs) == batch_size:
            yield positions, stacked(inputs)
            positions, inputs = [], []
    if inputs:
        yield positions, stacked(inputs)


def stacked(inputs: Sequence[np.ndarray | str]) -> np.ndarray:
    """Pictures and arrays on top of each other; texts as an array of objects."""
    if not isinstance(inputs[0], str):
        return np.stack([np.asarray(one) for one in inputs])
    texts = np.empty(len(inputs), object)
    texts[:] = inputs
    return texts


def _notes_of(skipped: list[tuple[str, str]]) -> list[str]:
    if not skipped:
        return []
    return [f"skipped, {len(skipped):,}: {some([f'{name} ({reason})' for name, reason in skipped])}"]


def show(out: Console, asked: Asked, network: Network, found: Measured, notes: list[str]) -> None:
    """The result on the screen.

    Args:
        out: Where to.
        asked: The options.
        network: The network.
        found: What was measured.
        notes: What should be known of the data.
    """
    out.print(f"{asked.model} on {asked.data}: {counted(len(found), 'example')}; {keras.backend.backend()}")
    for note in notes:
        out.print(note)
    out.print(f"\n{found.sentence()}.\n")
    header, lines = found.table()
    left = (header[0], "most often taken for")
    print_table(out, header, lines, left=left, optional=("precision", "F1", "examples"))
    numbers = {name.replace("_", " "): value for name, value in list(found.numbers().items())[1:]}
    _wrapped(out, ", ".join(f"{name} {value:.4g}" for name, value in numbers.items()))
    mistakes = found.mistakes(MOST_SHOWN)
    if mistakes:
        number = len(found.all_mistakes())
        more = f", the {len(mistakes)} worst of {number:,}" if number > len(mistakes) else ""
        out.print(f"\nMistakes{more}:")
        rows = [[one.truth, one.predicted, one.name] for one in mistakes]
        print_table(out, ["is", "predicted", "example"], rows, left=("is", "predicted", "example"))


def _wrapped(out: Console, text: str) -> None:
    """A line, broken between words at 80 columns."""
    out.print()
    for line in textwrap.wrap(text, min(out.width, LONGEST_LINE), break_on_hyphens=False):
        out.print(line)


def _write(
    asked: Asked, network: Network, found: Measured, notes: list[str], skipped: list[tuple[str, str]]
) -> list[Path]:
    """Writes what was asked for, each file whole or not at all."""
    written = []
    if asked.report is not None:
        backend = keras.backend.backend()
        shown = {"model": str(asked.model), "data": str(asked.data), "backend": backend, "keras": keras.__version__}
        title = f"{asked.model.name} on {asked.data.name or asked.data}"
        command = settings.command("evaluate", asked, backend)
        write_evaluation(
            asked.report, found, title=title, notes=notes, skipped=skipped, command=command, settings=shown
        )
        written.append(asked.report)
    if asked.pictures is not None:
        asked.pictures.mkdir(exist_ok=True)
        written += write_pictures(asked.pictures, found)
    return written
