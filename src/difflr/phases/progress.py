"""The progress of a training in phases, saved with the optimizer's state."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from difflr.checks import check_fields, shown
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
        kinds = typing.get_type_hints(cls)
        if not isinstance(data, Mapping):
            raise ValueError(f"The saved progress of the phases is no mapping. Received: {shown(data)}.")
        check_fields(dict(data), kinds, "The saved progress of the phases")
        for name, kind in kinds.items():
            value = data.get(name)
            if name == "phases":
                fits = isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
            elif name == "logs":
                fits = isinstance(value, Mapping) and all(
                    isinstance(k, str) and _is_number(v) for k, v in value.items()
                )
            elif kind is int:
                fits = type(value) is int and value >= 0
            elif kind is bool:
                fits = isinstance(value, bool)
            else:
                fits = value is None or _is_number(value)
            if not fits:
                raise ValueError(f"The saved progress of the phases has no valid '{name}'. Received: {shown(value)}.")
        if data["number"] >= len(data["phases"]):
            raise ValueError(f"The saved progress of the phases has no valid 'number'. Received: {data['number']}.")
        return cls(**{**data, "phases": tuple(data["phases"])})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
