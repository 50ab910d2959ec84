"""`Phases`: the phases of one training, as data that can be printed, saved, edited and read back."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from difflr import checks
from difflr.checks import did_you_mean, shown, wrong_type
from difflr.phases.phase import Phase
from difflr.phases.table import as_text
from difflr.yaml_text import read_yaml, write_yaml

MAX_CHARACTERS = 100_000


class Phases(tuple[Phase, ...]):
    """The phases of one training, in order, for `difflr.PhaseScheduler`.

    Phases can be printed, saved as YAML, edited and read back. `difflr.phases` has functions that return common ones.

    Args:
        phases: List of `difflr.Phase`. All but the last need an end. If the last phase ends by steps or by a metric, the
            training stops there.

    Raises:
        TypeError: If an element is not a phase.
        ValueError: If there is no phase, or a phase follows one without an end.

    Example:

    ```python
    import difflr

    phases = difflr.Phases([difflr.Phase(trainable="head", epochs=1), difflr.Phase(trainable="*")])
    print(phases)
    assert difflr.Phases.from_dict(phases.to_dict()) == phases
    ```

    Reference: the generated and editable schedules of finetuning-scheduler.
    """

    def __new__(cls, phases: Iterable[Phase]) -> "Phases":  # noqa: D102 - its arguments are those of the class
        if not isinstance(phases, Iterable) and not isinstance(phases, Phase):
            raise wrong_type("`phases`", "a list of difflr.Phase", phases)
        self = super().__new__(cls, [phases] if isinstance(phases, Phase) else phases)
        for phase in self:
            if not isinstance(phase, Phase):
                raise TypeError(
                    f"Phases are made of difflr.Phase. Received: {phase!r} (of type {type(phase).__name__})."
                )
        if not self:
            raise ValueError(
                "There is no phase in the list. The simplest is difflr.Phases([difflr.Phase(trainable='*')])."
            )
        for number, phase in enumerate(self[:-1], start=1):
            if phase.endless:
                raise ValueError(
                    f"Phase {number} has no end, so that phase {number + 1} never begins. Give it `epochs`, `steps`, "
                    "`monitor` or `until`; only the last phase goes without."
                )
        return self

    def table(self, model: keras.Layer | None = None) -> str:
        """The phases as an aligned table.

        Args:
            model: A built model, to add the numbers of trainable, newly unfrozen and newly frozen parameters.

        Raises:
            ValueError: If the phases do not fit the model.
        """
        return as_text(self, model)

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        return as_text(self)._repr_html_()

    def __repr__(self) -> str:
        return f"<difflr.Phases: {', then '.join(f'{phase.who} until {phase.ends}' for phase in self)}>"

    def to_dict(self) -> dict[str, Any]:
        """The phases as plain data, as for JSON.

        Raises:
            ValueError: If a target is an object, which has no text.
        """
        return {"phases": [phase.to_dict() for phase in self]}

    @classmethod
    def from_dict(cls, config: Any) -> "Phases":
        """Phases from the output of `to_dict`.

        Raises:
            ValueError: If a phase is invalid; the message says which one.
        """
        checks.check(config, "What phases are made of")
        if not isinstance(config, Mapping) or set(config) != {"phases"} or not isinstance(config["phases"], list):
            hint = did_you_mean(str(next(iter(config), "")), ["phases"]) if isinstance(config, Mapping) else ""
            raise ValueError(
                f"Phases are a mapping with one key, 'phases', and a list below it. Received: {shown(config)}.{hint}"
            )
        made = []
        for number, data in enumerate(config["phases"], start=1):
            try:
                made.append(Phase.from_dict(data))
            except ValueError as error:
                raise ValueError(f"Phase {number}: {error}") from None
        return cls(made)

    def to_yaml(self) -> str:
        """The phases as YAML, to edit.

        Raises:
            ImportError: If PyYAML is not installed.
            ValueError: If a target is an object, which has no text.
        """
        return write_yaml(self.to_dict())

    @classmethod
    def from_yaml(cls, text: str) -> "Phases":
        """Phases from YAML.

        Args:
            text: The text. Only plain data is read from it.

        Raises:
            ImportError: If PyYAML is not installed.
            ValueError: If it contains no valid phases.

        Example:

        ```yaml
        phases:
        - trainable: [head]
          epochs: 1
        - trainable: ["*"]
        ```
        """
        return cls.from_dict(read_yaml(text, MAX_CHARACTERS))
