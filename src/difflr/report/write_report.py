"""`write_report`: one HTML file that shows a run, opens without a network, and can be compared with."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from difflr.checks import wrong_type
from difflr.files import write_whole
from difflr.plan import Plan
from difflr.plan.table import footer, table_rows
from difflr.report import comparison, drawing
from difflr.report.data_summary import DataSummary
from difflr.report.evaluation_section import evaluation_section
from difflr.report.labels import shortened
from difflr.report.logs import HOW, MEASURES, AnyHistory, lines_of
from difflr.report.measured import Measured
from difflr.report.phase_spans import AnyPhases, spans
from difflr.report.plan_layers import bands_of
from difflr.report.plot_log import MAX_LINES, draw_log
from difflr.report.plot_phases import cut, draw_phases, rows_of
from difflr.report.plot_plan import draw_plan
from difflr.report.plot_rate_map import draw_rate_map
from difflr.report.rates import Rate
from difflr.report.read_report import read_report
from difflr.report.record import Record, checked_record, log_in, record_of, to_block
from difflr.report.run import Run
from difflr.report.svg import Plots
from difflr.report.template import template

MAX_CURVES = 8


def write_report(
    path: str | os.PathLike[str],
    plan: Plan | keras.Layer,
    history: AnyHistory,
    *,
    phases: AnyPhases | None = None,
    title: str | None = None,
    notes: str | None = None,
    settings: Mapping[str, Any] | None = None,
    earlier: Sequence[str | os.PathLike[str] | Record] = (),
    evaluation: Measured | None = None,
    data: DataSummary | None = None,
    command: str | None = None,
    learning_rate: Rate | None = None,
    steps_per_epoch: int | None = None,
) -> Path:
    """Writes one HTML file about a run: its results, which layers trained at which rates, and its settings.

    The report shows the worst mistakes and the confusion matrix (with `evaluation`), results and curves, the data, the
    plan, the rate of each layer at each step, the logs of `difflr.GroupLogger`, phases, settings, versions, and earlier
    runs. The file needs no network and runs no code. It contains the run as data: `difflr.read_report` reads it, and later
    reports can compare with it.

    Args:
        path: The file to write, such as `"run.html"`. It is written completely or not at all.
        plan: The trained model, or its `difflr.Plan`.
        history: The history that `fit` returned, a mapping from names to lists, or the path of a file that
            `keras.callbacks.CSVLogger` wrote.
        phases: The `difflr.Phases` of the run. By default those in the history.
        title: The title; by default the name of the model.
        notes: A paragraph of your own.
        settings: A mapping of further settings, such as `{"data": "digits", "seed": 3}`.
        earlier: List of earlier runs to compare with: paths of reports, or records from `difflr.read_report`.
        evaluation: The result of `difflr.evaluation`.
        data: A `difflr.report.DataSummary`: the number of examples per class, and the skipped ones.
        command: The command line, or the code, that repeats the run.
        learning_rate: The base rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`. By default that of
            the optimizer the model is compiled with.
        steps_per_epoch: Integer, the batches in an epoch. By default from `history`.

    Returns:
        The path.

    Raises:
        ImportError: If jinja2 or matplotlib is not installed.
        TypeError: If an argument has the wrong type.
        ValueError: If the history is empty, an earlier file is not a report, or the phases do not fit the model.
        OSError: If the file cannot be written.

    Example:

    ```python
    import difflr

    model.compile(difflr.optimizers.AdamW(1e-3, multipliers=difflr.Plan(model, {"backbone": 0.1})), loss="mse")
    history = model.fit(x, np.eye(3)[y], epochs=2, verbose=0)
    difflr.write_report("run.html", model, history, title="A tenth for the backbone")
    ```
    """
    page_template = template("write_report.html")
    before = [_checked_earlier(run) for run in _as_list(earlier)]
    run = Run(plan, history, phases, learning_rate, steps_per_epoch)
    record = record_of(run, title, notes, settings)
    page = Page(run)
    html = page_template.render(
        title=record["title"],
        record=record,
        evaluation=None if evaluation is None else evaluation_section(evaluation, page.plot),
        results=comparison.results(record),
        curves=page.curves(),
        plan=page.plan(),
        rates=page.rates(),
        unknown_rates=run.unknown_rates(),
        log=page.groups(),
        phases=page.phases(),
        runs=page.comparison([record, *before]) if before else None,
        data=None if data is None else data.as_section(),
        command=command,
        block=to_block(record),
        missing_groups=HOW,
        number=lambda value: "-" if math.isnan(value) else f"{value:.4g}",
    )
    write_whole(path, html)
    return Path(path)


def _as_list(earlier: object) -> list[Any]:
    if isinstance(earlier, (str, os.PathLike, Mapping)):
        return [earlier]
    if isinstance(earlier, Sequence):
        return list(earlier)
    raise wrong_type("`earlier`", "a list of reports", earlier)


def _checked_earlier(run: object) -> Record:
    if isinstance(run, Mapping):
        try:
            return checked_record(dict(run))
        except ValueError as error:
            raise ValueError(f"An earlier run is no record of difflr: {error}") from None
    if isinstance(run, (str, os.PathLike)):
        return read_report(run)
    raise wrong_type("An earlier run", "the path of a report, or a record from difflr.read_report", run)


class Page:
    """Makes the parts of the page, and numbers its plots.

    Args:
        run: The run.
    """

    def __init__(self, run: Run):
        self.run, self.plot = run, Plots()

    def curves(self) -> dict[str, Any]:
        """Loss and metrics over the epochs."""
        names = self.run.log.metrics
        return {"plots": [self._log_plot(name, name) for name in names[:MAX_CURVES]], "left_out": names[MAX_CURVES:]}

    def groups(self) -> list[dict[str, str]]:
        """A plot for each logged measure of the groups."""
        return [self._log_plot(name, f"{MEASURES[name].capitalize()} of each group") for name in self.run.log.measures]

    def _log_plot(self, measure: str, name: str) -> dict[str, str]:
        log = self.run.shown_log
        lines = len(lines_of(log, measure)[0])
        height = 3.0 + 0.08 * lines if lines <= MAX_LINES else drawing.height_for(lines)
        return self.plot(name, lambda axes: draw_log(axes, log, measure, True), height)

    def plan(self) -> dict[str, Any]:
        """The plan as a plot and a table."""
        plan, rate = self.run.plan, self.run.constant_rate
        bands = bands_of(plan)
        name = (
            "Multiplier of each layer" if rate is None else f"Learning rate of each layer, at a base rate of {rate:g}"
        )
        if any(phase.schedule is not None for phase in self.run.phases or ()):
            name += ", without the schedules of the phases"
        height = drawing.height_for(len({band.layer for band in bands})) + 0.3
        plot = self.plot(name, lambda axes: draw_plan(axes, bands, rate or None, True), height)
        header, lines = table_rows(plan, rate)
        return {"header": header, "lines": lines, "footer": footer(plan, rate), "plot": plot}

    def rates(self) -> dict[str, str] | None:
        """The map of the rates, where they are known."""
        numbers = self.run.rate_map()
        if numbers is None:
            return None
        height = drawing.height_for(len(numbers.names)) + 0.4
        return self.plot("Learning rate of each layer at each step", lambda axes: draw_rate_map(axes, numbers), height)

    def phases(self) -> dict[str, Any] | None:
        """The phases as a chart; the record has them as text."""
        run = self.run
        if run.phases is None:
            return None
        if run.steps_per_epoch is None and any(phase.steps for phase in run.phases):
            return {"plot": None}  # it is not known when each began
        found = spans(run.phases, "epoch", run.steps_per_epoch, run.accumulation, run.log.phases)
        found = cut(found, len(run.log.epochs))
        names, values, label = rows_of(run.phases, run.plan if run.plan.model is not None else None)

        def draw(axes: drawing.Axes) -> None:
            draw_phases(axes, names, values, found, label)
            axes.set_xlabel(drawing.time_label("epoch", found))

        return {"plot": self.plot("Who is trainable in which phase", draw, drawing.height_for(len(names)) + 0.2)}

    def comparison(self, records: list[Record]) -> dict[str, Any]:
        """This run and earlier ones side by side.

        Args:
            records: The records, this one first.
        """
        header, lines = comparison.table(records)
        titles = [f"{number}: {record['title']}" for number, record in enumerate(records, start=1)]
        return {
            "header": header,
            "lines": lines,
            "titles": titles,
            "differences": comparison.differences(records),
            "plans": [comparison.plan_differences(records[0], record) for record in records[1:]],
            "plots": [self._metric_of_runs(name, titles, records) for name in header[4:6]],
        }

    def _metric_of_runs(self, name: str, titles: list[str], records: list[Record]) -> dict[str, str]:
        logs = {title: log_in(record) for title, record in zip(titles, records, strict=True)}
        logs = {title: log for title, log in logs.items() if name in log.values}

        def draw(axes: drawing.Axes) -> None:
            handles = []
            for log, style in zip(logs.values(), drawing.line_styles(len(logs)), strict=True):
                handles += axes.plot(log.epochs, log.values[name], **style)
            drawing.horizontal_grid(axes)
            axes.set_xlabel("epoch")
            axes.set_ylabel(shortened([name], drawing.MAX_LABEL)[0], parse_math=False)
            drawing.whole_numbers(axes)
            drawing.legend(axes, handles, list(logs), True)

        return self.plot(f"{name} of each run", draw, 3.2 + 0.16 * len(records))
