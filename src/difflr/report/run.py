"""A run as far as it is known: its plan, its log, its phases, its base rate."""

from typing import Any

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan
from difflr.report.logs import AnyHistory, log_of
from difflr.report.phase_spans import AnyPhases, checked_phases
from difflr.report.plan_layers import as_plan
from difflr.report.plot_rate_map import RateMap, rate_map
from difflr.report.rates import accumulation_of, base_rate, values_at


class Run:
    """What a report is about.

    Args:
        plan: The trained model, or its plan.
        history: As for `difflr.write_report`.
        phases: As there.

    Attributes:
        model: The model, if it was passed or the history knows it.
        optimizer: Its optimizer, if it is compiled.
        log: What was logged.
        phases: The phases, if they were passed or the history knows them.
        plan: The plan: the whole one if the run had phases, else the one in force.
        fit: The parameters of `fit`, if the history knows them.
        accumulation: The number of batches in one update.
    """

    def __init__(self, plan: Plan | keras.Layer, history: AnyHistory, phases: AnyPhases | None = None):
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
    def steps_per_epoch(self) -> int | None:
        """Batches in an epoch, if the history knows."""
        return self.fit.get("steps")

    @property
    def base(self) -> float | LearningRateSchedule | None:
        """The base rate, if the model is compiled with an optimizer that has just one."""
        if self.optimizer is None or len(parts(self.optimizer)) > 1:
            return None
        return base_rate(self.optimizer)

    @property
    def constant_rate(self) -> float | None:
        """The base rate, if it is known and was the same at all times."""
        logged = self.log.values.get("learning_rate")  # callbacks that change the rate log it
        is_constant = isinstance(self.base, float) and (logged is None or np.ptp(logged) == 0)
        return self.base if is_constant else None  # type: ignore[return-value]

    def rate_map(self) -> RateMap | None:
        """The rates at each step of the run; `None` if not all of them are known."""
        batches, base = self.steps_per_epoch, self.base
        if not batches or base is None or (self.log.phases and self.phases is None):
            return None
        num_steps = batches * self.log.epochs[-1]
        # Nor if the optimizer had been used before.
        if self._first_epoch or keras_private.applications(parts(self.optimizer)[0]) > num_steps:
            return None
        logged = self.log.values.get("learning_rate")
        if logged is not None and np.isnan(logged).any():
            return None

        def rates(steps: np.ndarray) -> np.ndarray:
            return values_at(base, steps) if logged is None else logged[steps // batches]

        return rate_map(self.plan, rates, num_steps, self.phases, batches, self.accumulation, self.log.phases)
