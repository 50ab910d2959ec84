"""The optimizer's state in a file, by variable, identified by its place in the layer tree.

Keras saves the state by position only. difflr adds one entry of plain data: the variable of each array, the plan in
force, and the state of temporarily frozen variables.
"""

import dataclasses
import json
import zlib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from difflr import checks, keras_private
from difflr.checks import listed, shown
from difflr.optimizers.state_by_place import Key, LateStart
from difflr.plan import Row, hyperparameters, saved_plan

HEADER = "difflr"
_CHECKSUM = 8


@dataclasses.dataclass
class State:
    """The state of an optimizer.

    Args:
        plan: The plan in force, from `saved_plan.to_config`.
        values: The state of trainable variables and of the optimizer itself.
        aside: The state of temporarily frozen variables.
        starts: The late starts of newly unfrozen variables, by place.
        seen: How many gradients the state of temporarily frozen variables has seen, by place.
        multipliers: Multipliers that differ from the plan, by place.
        hyperparameters: Hyperparameters that differ from the plan, by place and name.
        learning_rate: The base rate the optimizer was created with; `None` if it is a schedule.
        callbacks: Data of callbacks.
        changed: Multipliers changed during training: place -> planned, current.
        changed_hyperparameters: Hyperparameters changed during training: place -> name -> planned, current.
        arrays: Arrays of callbacks.
    """

    plan: dict[str, Any]
    values: dict[Key, np.ndarray] = dataclasses.field(default_factory=dict)
    aside: dict[Key, np.ndarray] = dataclasses.field(default_factory=dict)
    starts: dict[str, LateStart] = dataclasses.field(default_factory=dict)
    seen: dict[str, int] = dataclasses.field(default_factory=dict)
    multipliers: dict[str, float] = dataclasses.field(default_factory=dict)
    hyperparameters: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    learning_rate: float | None = None
    callbacks: dict[str, Any] = dataclasses.field(default_factory=dict)
    changed: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    changed_hyperparameters: dict[str, dict[str, tuple[float, float]]] = dataclasses.field(default_factory=dict)
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def save(self, store: MutableMapping[str, Any]) -> None:
        """Writes the state to a store.

        Args:
            store: A store of Keras.
        """
        header = {
            "plan": self.plan,
            "values": [list(key) for key in self.values],
            "aside": [list(key) for key in self.aside],
            "starts": {place: list(dataclasses.astuple(start)) for place, start in self.starts.items()},
            "seen": self.seen,
            "multipliers": self.multipliers,
            "hyperparameters": self.hyperparameters,
            "learning_rate": self.learning_rate,
            "callbacks": self.callbacks,
            "changed": {place: list(numbers) for place, numbers in self.changed.items()},
            "changed_hyperparameters": {
                place: {name: list(pair) for name, pair in numbers.items()}
                for place, numbers in self.changed_hyperparameters.items()
            },
            "arrays": list(self.arrays),
        }
        for number, value in enumerate([*self.values.values(), *self.aside.values(), *self.arrays.values()]):
            store[str(number)] = value
        store[HEADER] = _as_array(header)

    @classmethod
    def load(cls, store: Mapping[str, Any]) -> "State":
        """Reads and checks what `save` wrote.

        Args:
            store: A store of Keras.

        Raises:
            ValueError: If it is damaged or not such a state; the message names the field.
        """
        header = _from_array(store[HEADER])
        if isinstance(header, dict):
            header.setdefault("hyperparameters", {})
            header.setdefault("changed_hyperparameters", {})
        _check(header)
        keys = [*header["values"], *header["aside"], *((None, name) for name in header["arrays"])]
        missing = [f"{place or 'the optimizer'}: {name}" for n, (place, name) in enumerate(keys) if str(n) not in store]
        if missing:
            raise ValueError(f"The saved state lacks {listed(missing)}. Use another copy of the file.")
        arrays = [np.asarray(store[str(number)]) for number in range(len(keys))]
        entries = [((place, name), array) for (place, name), array in zip(keys, arrays, strict=True)]
        count, known = len(header["values"]), len(header["values"]) + len(header["aside"])
        return cls(
            plan=header["plan"],
            values=dict(entries[:count]),
            aside=dict(entries[count:known]),
            starts={place: LateStart(*numbers) for place, numbers in header["starts"].items()},
            seen=header["seen"],
            multipliers=header["multipliers"],
            hyperparameters=header["hyperparameters"],
            learning_rate=header["learning_rate"],
            callbacks=header["callbacks"],
            changed={place: tuple(numbers) for place, numbers in header["changed"].items()},
            changed_hyperparameters={
                place: {name: tuple(pair) for name, pair in numbers.items()}
                for place, numbers in header["changed_hyperparameters"].items()
            },
            arrays=dict(zip(header["arrays"], arrays[known:], strict=True)),
        )

    def for_rows(self, rows: Sequence[Row]) -> "State":
        """This state with the places of a plan's rows.

        Places differ if the model was unknown when saving, or is unknown now. Variables are then matched by order, if
        all names and shapes agree.

        Args:
            rows: The rows of the plan.
        """
        saved = self.plan["rows"]
        if {row.place for row in rows} & {row["place"] for row in saved}:
            return self
        here = [(saved_plan.short_name(row.variable), list(row.shape)) for row in rows]
        if [(row["variable"], row["shape"]) for row in saved] != here:
            return self
        places = {row["place"]: known.place for row, known in zip(saved, rows, strict=True)}

        def moved(values: dict[Key, np.ndarray]) -> dict[Key, np.ndarray]:
            return {(None if place is None else places[place], name): v for (place, name), v in values.items()}

        return dataclasses.replace(
            self,
            plan=_moved_plan(self.plan, places),
            values=moved(self.values),
            aside=moved(self.aside),
            starts={places[place]: start for place, start in self.starts.items()},
            seen={places[place]: number for place, number in self.seen.items()},
            multipliers={places[place]: number for place, number in self.multipliers.items()},
            hyperparameters={places[place]: numbers for place, numbers in self.hyperparameters.items()},
            changed={places[place]: numbers for place, numbers in self.changed.items()},
            changed_hyperparameters={places[place]: known for place, known in self.changed_hyperparameters.items()},
        )


def _moved_plan(config: dict[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    whole = config["whole"]
    rows = [{**row, "place": places[row["place"]]} for row in config["rows"]]
    return {**config, "rows": rows, "whole": None if whole is None else _moved_plan(whole, places)}


def _as_array(data: Any) -> np.ndarray:
    """Plain data as an array, which is all that Keras's stores take, with a checksum, which HDF5 lacks."""
    text = json.dumps(data).encode()
    return np.frombuffer(_checksum(text) + text, dtype="uint8")


def _from_array(array: Any) -> Any:
    try:
        written = np.asarray(array, dtype="uint8").tobytes()
        if written[:_CHECKSUM] == _checksum(written[_CHECKSUM:]):
            return json.loads(written[_CHECKSUM:])
    except (ValueError, TypeError, RecursionError):
        pass
    raise ValueError(
        "The saved state of the optimizer is damaged: its checksum does not match. Use another copy of the file, or load "
        "the model with `compile=False` and compile it again."
    )


def _checksum(text: bytes) -> bytes:
    return f"{zlib.crc32(text):0{_CHECKSUM}x}".encode()


_FIELDS: dict[str, Any] = {
    "plan": dict,
    "values": list,
    "aside": list,
    "starts": dict,
    "seen": dict,
    "multipliers": dict,
    "hyperparameters": dict,
    "learning_rate": (int, float, type(None)),
    "callbacks": dict,
    "changed": dict,
    "changed_hyperparameters": dict,
    "arrays": list,
}


def _check(header: Any) -> None:
    def require(fits: bool, field: str, value: Any) -> None:
        if not fits:
            raise ValueError(f"The saved state of the optimizer has no valid '{field}'. Received: {shown(value)}.")

    require(isinstance(header, dict), "plan", header)
    for field, kind in _FIELDS.items():
        require(isinstance(header.get(field), kind), field, header.get(field))
    checks.check({**header, "callbacks": {}}, "The saved state of the optimizer")
    checks.check_fields(header, _FIELDS, "The saved state of the optimizer")
    saved_plan.check_config(header["plan"])
    known = {row["place"] for row in header["plan"]["rows"]}
    for field in ("values", "aside"):
        for key in header[field]:
            pair = isinstance(key, list) and len(key) == 2 and isinstance(key[0], (str, type(None)))
            require(pair and isinstance(key[1], str), field, key)
            require(key[0] in known or (key[0] is None and field == "values"), field, key)
    require([None, keras_private.ITERATION] in header["values"], "values", header["values"])
    for place, numbers in header["starts"].items():
        require(isinstance(numbers, list) and len(numbers) == 3 and all(map(_counts, numbers)), "starts", numbers)
        require(place in known, "starts", place)
    for place, number in header["seen"].items():
        require(place in known and _counts(number), "seen", number)
    for place, number in header["multipliers"].items():
        require(place in known, "multipliers", place)
        require(type(number) in (int, float) and number > 0, "multipliers", number)
    for place, numbers in header["hyperparameters"].items():
        require(place in known and isinstance(numbers, dict), "hyperparameters", place)
        require(all(type(number) in (int, float) for number in numbers.values()), "hyperparameters", numbers)
        hyperparameters.check_json(numbers)
    for place, numbers in header["changed"].items():
        require(place in known and _is_pair(numbers) and min(numbers) > 0, "changed", numbers)
    for place, numbers in header["changed_hyperparameters"].items():
        pairs = isinstance(numbers, dict) and all(map(_is_pair, numbers.values()))
        require(place in known and pairs, "changed_hyperparameters", numbers)
        for position in (0, 1):
            hyperparameters.check_json({name: pair[position] for name, pair in numbers.items()})
    require(all(isinstance(name, str) for name in header["arrays"]), "arrays", header["arrays"])
    require(len(set(header["arrays"])) == len(header["arrays"]), "arrays", header["arrays"])


def _is_pair(numbers: Any) -> bool:
    return isinstance(numbers, list) and len(numbers) == 2 and all(type(number) in (int, float) for number in numbers)


def _counts(number: Any) -> bool:
    return type(number) is int and 0 <= number < 2**31
