"""A run as far as it is known: its plan, its log, its phases, its base rate."""

from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.checks import checked_steps
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan
from difflr.plan.covering_targets import CoveringTargets
from difflr.plan.group_names import groups_by_name
from difflr.report.logs import AnyHistory, Log, log_of
from difflr.report.phase_spans import AnyPhases, checked_phases
from difflr.report.plan_layers import as_plan
from difflr.report.plot_rate_map import RateMap, rate_map
from difflr.report.rates import Rate, accumulation_of, base_rate, values_at
from difflr.text_table import counted


class Run:
    """What a report is about.

    Args:
        plan: The trained model, or its plan.
        history: As for `difflr.write_report`.
        phases: As there.
        learning_rate: The base rate, if it is not that of the model's optimizer.
        steps_per_epoch: Batches in an epoch, if the history does not know.

    Attributes:
        model: The model, if it was passed or the history knows it.
        optimizer: Its optimizer, if it is compiled.
        log: What was logged.
        phases: The phases, if they were passed or the history knows them.
        plan: The plan: the whole one if the run had phases, else the one in force.
        fit: The parameters of `fit`, if the history knows them.
        accumulation: The number of batches in one update.
    """

    def __init__(
        self,
        plan: Plan | keras.Layer,
        history: AnyHistory,
        phases: AnyPhases | None = None,
        learning_rate: Rate | None = None,
        steps_per_epoch: int | None = None,
    ):
        self._base = None if learning_rate is None else base_rate(learning_rate)
        self._steps_per_epoch = None if steps_per_epoch is None else checked_steps(steps_per_epoch, "steps_per_epoch")
        in_force = as_plan(plan)
        model = plan if isinstance(plan, keras.Layer) else getattr(history, "model", None)
        self.model = model if isinstance(model, keras.Layer) else None
        self.optimizer = getattr(self.model, "optimizer", None)
        self.log = log_of(history)
        phases = getattr(history, "phases", None) if phases is None else phases
        self.phases = None if phases is None else checked_phases(phases)
        last = max(self.log.phases, default=0)
        if self.phases is not None and last > len(self.phases):
            raise ValueError(f"The history has a phase {last}, and `phases` has {len(self.phases)}: they differ.")
        self.plan = in_force.whole if self.phases or last else in_force
        self.fit: dict[str, Any] = getattr(history, "params", None) or {}
        self.accumulation = accumulation_of(self.optimizer)
        self._first_epoch = (getattr(history, "epoch", None) or [0])[0]

    @property
    def shown_log(self) -> Log:
        """The log with groups named as in the plan's table: `fire2_*/kernel`, not `fire2_squeeze1x1/kernel_and_2_more`."""
        targets = CoveringTargets(self.plan.rows)
        shown: dict[str, str] = {}
        for name, group in groups_by_name(self.plan).items():
            found = targets.of(group.rows)
            if len(found) == 1 and not group.rows[0].name:
                shown |= {f"{measure}/{name}": f"{measure}/{found[0]}" for measure in self.log.measures}
        return Log(self.log.epochs, {shown.get(name, name): values for name, values in self.log.values.items()})

    @property
    def steps_per_epoch(self) -> int | None:
        """Batches in an epoch, if the history knows."""
        return self._steps_per_epoch or self.fit.get("steps")

    @property
    def base(self) -> float | LearningRateSchedule | None:
        """The base rate, if it was passed, or the model is compiled with an optimizer that has just one."""
        if self._base is not None:
            return self._base
        if self.optimizer is None or len(parts(self.optimizer)) > 1:
            return None
        return base_rate(self.optimizer)

    @property
    def constant_rate(self) -> float | None:
        """The base rate, if it is known and was the same at all times."""
        logged = self.log.values.get("learning_rate")  # callbacks that change the rate log it
        is_constant = isinstance(self.base, float) and (logged is None or np.ptp(logged) == 0)
        return self.base if is_constant else None  # type: ignore[return-value]

    def unknown_rates(self) -> str:
        """Why the rates at each step are not known; empty if they are."""
        batches, last = self.steps_per_epoch, max(self.log.phases, default=0)
        if last and self.phases is None:
            return f"the run had {counted(last, 'phase')}, which the report does not know: pass `phases`"
        if not batches:
            return "the number of batches in an epoch is not known: pass `steps_per_epoch`"
        if self.base is None:
            return "the base rate is not known: pass `learning_rate`"
        if self._used_before(batches * self.log.epochs[-1]):
            return "the optimizer had been used before this run"
        if np.isnan(self._logged_rates()).any():
            return "the log has no learning rate in some epochs"
        return ""

    def _used_before(self, num_steps: int) -> bool:
        """Whether the optimizer had taken steps before: then its schedule had begun."""
        if self._base is not None:
            return False
        return bool(self._first_epoch) or keras_private.applications(parts(self.optimizer)[0]) > num_steps

    def _logged_rates(self) -> np.ndarray:
        """The base rate in each epoch, if callbacks that change it logged it; else nothing."""
        return self.log.values.get("learning_rate", np.array([]))

    def rate_map(self) -> RateMap | None:
        """The rates at each step of the run; `None` if not all of them are known."""
        if self.unknown_rates():
            return None
        batches, base, logged = self.steps_per_epoch or 1, self.base, self._logged_rates()

        def rates(steps: np.ndarray) -> np.ndarray:
            return logged[steps // batches] if len(logged) else values_at(base or 0.0, steps)

        num_steps = batches * self.log.epochs[-1]
        return rate_map(
            self.plan, rates, num_steps, self.phases, batches, self.accumulation, self.log.phases, len(logged) > 0
        )
