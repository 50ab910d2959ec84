"""How far a training in phases has come: what is saved with the optimizer's state."""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from difflr.checks import check_fields, shown


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a training in phases has come.

    Args:
        phases: The phases, as text.
        number: The number of the phase, from 0.
        began: The epoch in which the first phase began.
        epoch: The present epoch.
        epoch_step: The optimizer's step at the beginning of the epoch.
        start_epoch: The epoch in which the phase began.
        start_step: The optimizer's step at which it began.
        value: The value of the monitored metric in this epoch so far.
        best: Its best value in this phase.
        waited: For how many epochs it has not improved.
        finished: Whether `fit` came to its end.
    """

    phases: tuple[str, ...]
    number: int = 0
    began: int = 0
    epoch: int = 0
    epoch_step: int = 0
    start_epoch: int = 0
    start_step: int = 0
    value: float | None = None
    best: float | None = None
    waited: int = 0
    finished: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {**dataclasses.asdict(self), "phases": list(self.phases)}

    @classmethod
    def from_dict(cls, data: Any) -> "Progress":
        """What `to_dict` returned.

        Raises:
            ValueError: If it is something else; the message names the field.
        """
        kinds = typing.get_type_hints(cls)
        if not isinstance(data, Mapping):
            raise ValueError(f"What was saved of the phases is no mapping. Received: {shown(data)}.")
        check_fields(dict(data), kinds, "What was saved of the phases")
        for name, kind in kinds.items():
            value = data.get(name)
            if name == "phases":
                fits = isinstance(value, (list, tuple)) and all(isinstance(text, str) for text in value)
            elif kind is int:
                fits = type(value) is int and value >= 0
            elif kind is bool:
                fits = isinstance(value, bool)
            else:
                fits = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
            if not fits:
                raise ValueError(f"What was saved of the phases has no valid '{name}'. Received: {shown(value)}.")
        if data["number"] >= len(data["phases"]):
            raise ValueError(f"What was saved of the phases has no valid 'number'. Received: {data['number']}.")
        return cls(**{**data, "phases": tuple(data["phases"])})
