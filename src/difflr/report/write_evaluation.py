"""`write_evaluation`: what a model gets right and wrong, as one HTML file or as plots."""

import datetime
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from difflr.files import whole_file, write_whole
from difflr.report.contact_sheet import contact_sheet
from difflr.report.evaluation_section import evaluation_section
from difflr.report.measured import Measured
from difflr.report.svg import Plots
from difflr.report.template import template

DOTS_PER_INCH = 150


def write_evaluation(
    path: str | os.PathLike[str],
    found: Measured,
    *,
    title: str,
    notes: Sequence[str] = (),
    skipped: Sequence[tuple[str, str]] = (),
    command: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Path:
    """Writes one HTML file that needs no network and runs no code, whole or not at all.

    Args:
        path: The file.
        found: What `difflr.evaluation` returned.
        title: The title.
        notes: What should be known of the data.
        skipped: Pairs of what could not be read, and why.
        command: The command line that makes it again.
        settings: What else should be known.

    Returns:
        The path.

    Raises:
        ImportError: If jinja2 or matplotlib is not installed.
        OSError: If the file cannot be written.
    """
    page = template("write_evaluation.html")
    html = page.render(
        title=title,
        time=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        number=len(found),
        evaluation=evaluation_section(found, Plots()),
        notes=notes,
        skipped=dict(skipped),
        command=command,
        settings=settings or {},
    )
    write_whole(path, html)
    return Path(path)


def write_plots(folder: Path, found: Measured) -> list[Path]:
    """Writes the plots, and the worst mistakes as a contact sheet, each into a PNG file.

    Args:
        folder: An existing folder.
        found: What `difflr.evaluation` returned.

    Returns:
        The files.

    Raises:
        ImportError: If matplotlib is not installed.
        OSError: If a file cannot be written.
    """
    from matplotlib.figure import Figure

    figures: dict[str, Figure | None] = {}
    for plot in found.plots():
        figures[plot.name] = figure = Figure(figsize=(6.4, plot.height), layout="constrained")
        plot.draw(figure.subplots())
    figures["mistakes"] = contact_sheet(found)
    files = []
    for name, drawn in figures.items():
        if drawn is not None:
            files.append(folder / f"{name}.png")
            with whole_file(files[-1]) as unfinished:
                drawn.savefig(unfinished, dpi=DOTS_PER_INCH)
    return files
