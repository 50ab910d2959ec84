"""`write_report`: one HTML file that shows a run, opens without a network, and can be compared with."""

import importlib.resources
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from difflr import keras_private
from difflr.files import write_whole
from difflr.plan.table import footer, table_rows
from difflr.report import comparison, drawing, phase_spans
from difflr.report.logs import HOW, MEASURES, chosen, log_of
from difflr.report.plan_layers import as_plan, lanes_of
from difflr.report.plot_log import MAX_LINES, draw_log
from difflr.report.plot_phases import plot_phases
from difflr.report.plot_plan import draw_plan
from difflr.report.plot_rate_map import draw_map, rate_map
from difflr.report.read_report import checked_record, log_in, model_of, read_report, run_record, to_block
from difflr.report.svg import as_svg

MAX_CURVES = 8


def write_report(
    path: str | os.PathLike[str],
    plan: Any,
    history: Any,
    *,
    phases: Any = None,
    title: str | None = None,
    notes: str | None = None,
    settings: Mapping[str, Any] | None = None,
    earlier: Sequence[Any] = (),
) -> Path:
    """Writes one HTML file about a run: what it reached, who trained at which rate, and under which settings.

    Results and curves, the plan as a table and a picture, rates over time, what `difflr.GroupLogger` logged, phases,
    settings, versions; and earlier runs beside it. The file needs no network and runs no code. It holds the run as data,
    too: `difflr.read_report` reads it back, and a later report compares with it.

    Args:
        path: The file to write, such as `"run.html"`. It is written whole or not at all.
        plan: The trained model, or its `difflr.Plan`.
        history: What `fit` returned, a mapping from names to lists, or the path of a file that
            `keras.callbacks.CSVLogger` wrote.
        phases: The `difflr.Phases` of the run.
        title: The title; by default the name of the model.
        notes: A paragraph of your own.
        settings: A mapping of further settings, such as `{"data": "digits", "seed": 3}`.
        earlier: List of earlier runs to compare with: paths of reports, or records from `difflr.read_report`.

    Returns:
        The path.

    Raises:
        ImportError: If jinja2 or matplotlib is not installed.
        TypeError: If an argument is of no known form.
        ValueError: If the history is empty, an earlier report is none, or the phases do not fit the model.
        OSError: If the file cannot be written.

    Example:

    ```python
    import difflr

    model.compile(difflr.optimizers.AdamW(1e-3, multipliers=difflr.Plan(model, {"backbone": 0.1})), loss="mse")
    history = model.fit(x, np.eye(3)[y], epochs=2, verbose=0)
    difflr.write_report("run.html", model, history, title="A tenth for the backbone")
    ```
    """
    template = _template()
    before = [_earlier(each) for each in _listed(earlier)]
    record = run_record(plan, history, phases=phases, title=title, notes=notes, settings=settings)
    model = model_of(plan, history)
    page = Page()
    sections = {
        "curves": page.curves(record),
        "plan": page.plan(as_plan(plan), model, record),
        "rates": page.rates(plan, model, history, phases),
        "log": page.log(history),
        "phases": page.phases(phases, plan, model, history),
        "runs": page.runs([record, *before]) if before else None,
    }
    html = template.render(
        record=record,
        results=comparison.results(record),
        data=to_block(record),
        missing_groups="" if log_of(history).measures else HOW,
        number=_number,
        **sections,
    )
    write_whole(path, html)
    return Path(path)


def _template() -> Any:
    try:
        import jinja2
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError('Reports need jinja2 and matplotlib: pip install "difflr[report]"') from None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(
        importlib.resources.files("difflr.report").joinpath("write_report.html").read_text("utf-8")
    )


def _listed(earlier: Any) -> list[Any]:
    if isinstance(earlier, (str, os.PathLike, Mapping)):
        return [earlier]
    if isinstance(earlier, Sequence):
        return list(earlier)
    raise TypeError(f"`earlier` must be a list of reports. Received: {earlier!r} (of type {type(earlier).__name__}).")


def _earlier(run: Any) -> dict[str, Any]:
    if isinstance(run, Mapping):
        try:
            return checked_record(dict(run))
        except ValueError as error:
            raise ValueError(f"An earlier run is no record of difflr: {error}") from None
    if isinstance(run, (str, os.PathLike)):
        return read_report(run)
    raise TypeError(
        "An earlier run is the path of a report, or a record from difflr.read_report. "
        f"Received: {run!r} (of type {type(run).__name__})."
    )


def _cut(title: str) -> str:
    return title if len(title) <= drawing.MAX_LABEL else f"{title[: drawing.MAX_LABEL - 1]}…"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4g}"


class Page:
    """Makes the parts of the page, and counts its pictures."""

    def __init__(self) -> None:
        self._count = 0

    def picture(self, name: str, draw: Callable[[Any], Any], height: float = 3.0) -> dict[str, Any]:
        """A picture with its name.

        Args:
            name: What it shows.
            draw: Function that draws on the axes it is given.
            height: Float, inches.
        """
        from markupsafe import Markup

        self._count += 1
        return {"name": name, "svg": Markup(as_svg(draw, height, self._count, name))}

    def curves(self, record: dict[str, Any]) -> dict[str, Any]:
        """Loss and metrics over the epochs.

        Args:
            record: The record.
        """
        log = log_in(record)
        names = log.metrics
        pictures = [self._curve(name, log) for name in names[:MAX_CURVES]]
        return {"pictures": pictures, "left_out": names[MAX_CURVES:]}

    def _curve(self, name: str, log: Any) -> dict[str, Any]:
        return self.picture(name, lambda axes: draw_log(axes, log, name, True))

    def plan(self, plan: Any, model: Any, record: dict[str, Any]) -> dict[str, Any]:
        """The plan as a picture and a table.

        Args:
            plan: The plan.
            model: The model, or `None`.
            record: The record.
        """
        rate = constant_rate(model, log_in(record))
        header, lines = table_rows(plan, rate)
        lanes = lanes_of(plan)
        layers = list(dict.fromkeys(lane.layer for lane in lanes))
        what = (
            "Multiplier of each layer" if rate is None else f"Learning rate of each layer, at a base rate of {rate:g}"
        )
        picture = self.picture(
            what,
            lambda axes: draw_plan(axes, lanes, layers, rate or 1.0, True),
            drawing.height_for(len(layers)) + 0.3,
        )
        return {"header": header, "lines": lines, "footer": footer(plan, rate), "picture": picture}

    def rates(self, plan: Any, model: Any, history: Any, phases: Any) -> dict[str, Any] | None:
        """The map of rates as they were planned, where that is known.

        Args:
            plan: The plan or the model.
            model: The model, or `None`.
            history: What `fit` returned.
            phases: The phases, or `None`.
        """
        steps_per_epoch, steps = planned_steps(model, history)
        updates = phases is not None and any(
            each.steps or each.warmup_steps for each in phase_spans.checked_phases(phases)
        )
        if updates and accumulation(model) > 1:  # phases count updates, schedules batches
            return None
        if not steps or (constant_rate(model, log_of(history)) is None and not _schedule(model)):
            return None
        numbers = rate_map(as_plan(plan), model.optimizer, steps, phases, model=model, steps_per_epoch=steps_per_epoch)
        height = drawing.height_for(len(numbers.lanes)) + 0.4
        return self.picture(
            "Learning rate of each layer at each step, as planned",
            lambda axes: draw_map(axes, numbers),
            height,
        )

    def log(self, history: Any) -> list[dict[str, Any]]:
        """What was logged for each group.

        Args:
            history: What `fit` returned.
        """
        log = log_of(history)
        return [self._logged(measure, log) for measure in log.measures]

    def _logged(self, measure: str, log: Any) -> dict[str, Any]:
        lines = len(chosen(log, measure)[0])
        few = lines <= MAX_LINES
        height = 3.4 + 0.16 * lines / 2 if few else drawing.height_for(lines)
        name = f"{MEASURES[measure].capitalize()} of each group"
        return self.picture(name, lambda axes: draw_log(axes, log, measure, True), height)

    def phases(self, phases: Any, plan: Any, model: Any, history: Any) -> dict[str, Any] | None:
        """The phases as a chart and a table.

        Args:
            phases: The phases, or `None`.
            plan: The plan or the model.
            model: The model, or `None`.
            history: What `fit` returned.
        """
        if phases is None:
            return None
        phases = phase_spans.checked_phases(phases)
        batches, _ = planned_steps(model, history)
        steps_per_epoch = None if batches is None else batches // accumulation(model)
        counts_both = any(phase.steps for phase in phases) and not all(phase.steps or phase.endless for phase in phases)
        if counts_both and steps_per_epoch is None:
            return {"picture": None}
        epochs = len(log_of(history).epochs)
        headless = model is None and any(target == "kind:head" for phase in phases for target in phase.trainable)
        whole = None if headless else as_plan(plan)

        def draw(axes: Any) -> None:
            plot_phases(phases, whole, None, axes, model=model, epochs=epochs, steps_per_epoch=steps_per_epoch)

        rows = sum(len(phase.trainable) for phase in phases) if whole is None else len(lanes_of(whole))
        return {"picture": self.picture("Who is trainable in which phase", draw, drawing.height_for(rows) + 0.2)}

    def runs(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        """This run and the earlier ones beside each other.

        Args:
            records: The records, this one first.
        """
        header, lines = comparison.table(records)
        names = header[4:6]
        titles = [f"{number}: {record['title']}" for number, record in enumerate(records, start=1)]
        return {
            "header": header,
            "lines": lines,
            "titles": titles,
            "differences": comparison.differences(records),
            "plans": [comparison.plan_differences(records[0], each) for each in records[1:]],
            "pictures": [self._beside(name, titles, records) for name in names],
        }

    def _beside(self, name: str, titles: list[str], records: list[dict[str, Any]]) -> dict[str, Any]:
        logs = [log_in(record) for record in records]

        def draw(axes: Any) -> None:
            there = [(title, log) for title, log in zip(titles, logs, strict=True) if name in log.values]
            handles = []
            for (_, log), look in zip(there, drawing.looks(len(there)), strict=True):
                handles += axes.plot(log.epochs, log.values[name], **look)
            axes.grid(axis="y", color=drawing.GREY, alpha=0.3, linewidth=0.6)
            axes.set_xlabel("epoch")
            axes.set_ylabel(drawing.shown(name), parse_math=False)
            drawing.whole_numbers(axes)
            drawing.legend(axes, handles, [_cut(title) for title, _ in there], True)

        return self.picture(f"{name} of each run", draw, 3.2 + 0.16 * len(records))


def planned_steps(model: Any, history: Any) -> tuple[int | None, int | None]:
    """Batches in an epoch and in all, where `fit` told and the run began with the optimizer's first step.

    Args:
        model: The model, or `None`.
        history: What `fit` returned.
    """
    parameters = getattr(history, "params", None) or {}
    batches, epochs = parameters.get("steps"), parameters.get("epochs")
    optimizer = getattr(model, "optimizer", None)
    if not batches or not epochs or optimizer is None:
        return None, None
    began = getattr(history, "epoch", None) or [0]
    whole = began[0] == 0 and keras_private.applications(optimizer) <= batches * (began[-1] + 1)
    return batches, batches * epochs if whole else None


def accumulation(model: Any) -> int:
    """The number of batches in one update."""
    return getattr(getattr(model, "optimizer", None), "gradient_accumulation_steps", None) or 1


def _schedule(model: Any) -> bool:
    from difflr.report.plan_layers import base_rate

    optimizer = getattr(model, "optimizer", None)
    return optimizer is not None and isinstance(base_rate(optimizer), keras.optimizers.schedules.LearningRateSchedule)


def constant_rate(model: Any, log: Any) -> float | None:
    """The base rate, if it was the same at all times.

    Args:
        model: The model, or `None`.
        log: The log, in which callbacks that change the rate note it.
    """
    from difflr.report.plan_layers import base_rate

    logged = log.values.get("learning_rate")
    if getattr(model, "optimizer", None) is None or _schedule(model) or (logged is not None and np.ptp(logged) > 0):
        return None
    return float(base_rate(model.optimizer))
