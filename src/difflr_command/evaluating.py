"""What `difflr evaluate` does: reads model and data, predicts batch by batch, shows what is right and wrong."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from rich.console import Console

import difflr
from difflr.data import Batches, Examples
from difflr.data.examples import some
from difflr.report.measured import Measured
from difflr.report.write_evaluation import write_evaluation, write_plots
from difflr.text_table import counted
from difflr_command import console
from difflr_command.data_options import pixels
from difflr_command.inputs import names_of
from difflr_command.labeled import labeled
from difflr_command.network import ARRAYS, NUMBERS, Network
from difflr_command.progress import reading
from difflr_command.settings import EvaluateOptions, command
from difflr_command.table import print_table

MOST_SHOWN = 10
LONGEST_LINE = 80


def evaluate_files(options: EvaluateOptions) -> None:
    """Runs it all; errors become one line and an exit code."""
    with console.quiet(options.json) as out:
        with console.bad_input():
            network = Network(options.model, options.scale, pixels(options.size))
            with reading(out) as on_image:
                examples = labeled(network, options, on_image)
        with console.running("nothing is written"):
            with reading(out, "examples", "predicting") as on_example:
                found = measured(network, examples, options, on_example)
            if not options.json:
                show(out, options, examples, found)
            written = _write(options, examples, found)
    if options.json:
        console.print_json(
            {
                "difflr": difflr.__version__,
                "backend": keras.backend.backend(),
                "model": str(options.model),
                "data": str(options.data),
                "task": network.info.task,
                **found.as_data(),
                "skipped": examples.skipped,
                "notes": examples.notes,
                "written": [str(path) for path in written],
            }
        )
    elif written:
        out.print(f"\nWritten: {', '.join(map(str, written))}")


def measured(
    network: Network, examples: Examples, options: EvaluateOptions, on_example: Callable[[int, int], None]
) -> Measured:
    """What the network gets right and wrong.

    Args:
        network: The network.
        examples: Examples with answers.
        options: The options.
        on_example: Called with how many are predicted, and how many there are.
    """
    batches, scores = Batches(examples.x, examples.y, options.batch_size), []
    for number in range(batches.num_batches):
        scores.append(network.predict(batches[number][0], options.batch_size))
        on_example(min((number + 1) * options.batch_size, len(examples)), len(examples))
    class_names = () if network.info.task == NUMBERS else network.class_names
    names = names_of(examples, options.data, network.info.data)
    show = None if network.info.data == ARRAYS else examples.x.__getitem__
    return difflr.evaluation(examples.y, np.concatenate(scores), class_names, names=names, show=show)


def show(out: Console, options: EvaluateOptions, examples: Examples, found: Measured) -> None:
    """The result on the screen.

    Args:
        out: Where to.
        options: The options.
        examples: What it was measured on.
        found: What was measured.
    """
    out.print(f"{options.model} on {options.data}: {counted(len(found), 'example')}; {keras.backend.backend()}")
    for note in examples.notes:
        out.print(note)
    if examples.skipped:
        reasons = some([f"{name} ({reason})" for name, reason in examples.skipped])
        out.print(f"skipped, {len(examples.skipped):,}: {reasons}")
    out.print(f"\n{found.sentence()}.\n")
    header, lines = found.table()
    left = (header[0], "most often taken for")
    print_table(out, header, lines, left=left, optional=("precision", "F1", "examples"))
    numbers = {name.replace("_", " "): value for name, value in list(found.numbers().items())[1:]}
    line = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
    out.print("", line, sep="\n", soft_wrap=False, width=min(out.width, LONGEST_LINE))
    mistakes = found.mistakes(MOST_SHOWN)
    if mistakes:
        number = len(found.all_mistakes())
        more = f", the {len(mistakes)} worst of {number:,}" if number > len(mistakes) else ""
        out.print(f"\nMistakes{more}:")
        rows = [[one.truth, one.predicted, one.name] for one in mistakes]
        print_table(out, ["is", "predicted", "example"], rows, left=("is", "predicted", "example"))


def _write(options: EvaluateOptions, examples: Examples, found: Measured) -> list[Path]:
    """Writes what was asked for, each file whole or not at all."""
    written = []
    if options.report is not None:
        backend = keras.backend.backend()
        shown = {"model": str(options.model), "data": str(options.data), "backend": backend, "keras": keras.__version__}
        write_evaluation(
            options.report,
            found,
            title=f"{options.model.name} on {options.data.name or options.data}",
            notes=examples.notes,
            skipped=examples.skipped,
            command=command("evaluate", options, backend),
            settings=shown,
        )
        written.append(options.report)
    if options.plots is not None:
        options.plots.mkdir(exist_ok=True)
        written += write_plots(options.plots, found)
    return written
