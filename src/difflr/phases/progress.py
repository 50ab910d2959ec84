"""The progress of a training in phases, saved with the optimizer's state."""

import dataclasses
import typing
from typing import Any

from difflr.checks import check_record
from difflr.phases.phase import Phase


@dataclasses.dataclass(frozen=True)
class Progress:
    """The progress of a training in phases.

    Args:
        phases: The phases, each as its `text`.
        number: The number of the phase, from 0.
        epoch: The current epoch.
        epoch_step: The optimizer's step at the beginning of the epoch.
        start_epoch: The epoch in which the phase began.
        start_step: The optimizer's step at which it began.
        logs: The metrics of this epoch so far, until they are counted.
        best: The best value of the monitored metric in this phase.
        waited: The number of epochs since it improved.
        over: Whether the phase is over by its threshold or its function, or by `next_phase()`.
        finished: Whether `fit` was completed.
    """

    phases: tuple[str, ...]
    number: int = 0
    epoch: int = 0
    epoch_step: int = 0
    start_epoch: int = 0
    start_step: int = 0
    logs: dict[str, float] = dataclasses.field(default_factory=dict)
    best: float | None = None
    waited: int = 0
    over: bool = False
    finished: bool = False

    def is_better(self, phase: Phase) -> bool:
        """Whether the metrics of this epoch are the best of the phase.

        Args:
            phase: The phase.
        """
        value = self.logs.get(phase.monitor or "")
        return value is not None and phase.is_better(value, self.best)

    def counted(self, phase: Phase) -> "Progress":
        """The same with the metrics of this epoch counted.

        Args:
            phase: The phase.
        """
        value, better = self.logs.get(phase.monitor or ""), self.is_better(phase)
        waited = 0 if better or value is None else self.waited + 1
        over = self.over or phase.is_reached(self.epoch, self.logs)
        return dataclasses.replace(self, logs={}, waited=waited, best=value if better else self.best, over=over)

    @classmethod
    def from_dict(cls, data: Any) -> "Progress":
        """The progress that was saved, checked.

        Raises:
            ValueError: If it is something else; the message names the field.
        """
        where = "The saved progress of the phases"
        check_record(data, typing.get_type_hints(cls), where)
        counts = {name: data[name] for name in ("number", "epoch", "epoch_step", "start_epoch", "start_step", "waited")}
        negative = next((name for name, count in counts.items() if count < 0), None)
        if negative or data["number"] >= len(data["phases"]):
            name = negative or "number"
            raise ValueError(f"{where} has no valid '{name}'. Received: {data[name]}.")
        return cls(**{**data, "phases": tuple(data["phases"])})
