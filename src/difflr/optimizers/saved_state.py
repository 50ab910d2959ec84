"""The optimizer's state in a file, by variable, identified by its place in the layer tree.

Keras saves the state by position only. difflr adds one entry of plain data: the variable of each array, the plan in
force, and the state of temporarily frozen variables.
"""

import dataclasses
import itertools
import json
import zlib
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from difflr import checks, keras_private
from difflr.checks import listed, shown
from difflr.optimizers.state_by_place import Key, LateStart
from difflr.plan import Row, hyperparameters, saved_plan
from difflr.plan.rows import MULTIPLIER

HEADER = "difflr"
_BY_PLACE = ("starts", "seen", "numbers", "changed")
_CHECKSUM = 8
_is_count = range(2**31).__contains__


@dataclasses.dataclass
class State:
    """The state of an optimizer.

    Args:
        plan: The plan in force, from `saved_plan.to_config`.
        values: The state of trainable variables and of the optimizer itself.
        aside: The state of temporarily frozen variables.
        starts: The late starts of newly unfrozen variables, by place.
        seen: How many gradients the state of temporarily frozen variables has seen, by place.
        numbers: Multipliers and hyperparameters that differ from the plan, by place and name.
        learning_rate: The base rate the optimizer was created with; `None` if it is a schedule.
        callbacks: Data of callbacks.
        changed: Numbers changed during training: place -> name -> planned, current.
        arrays: Arrays of callbacks.
    """

    plan: dict[str, Any]
    values: dict[Key, np.ndarray] = dataclasses.field(default_factory=dict)
    aside: dict[Key, np.ndarray] = dataclasses.field(default_factory=dict)
    starts: dict[str, LateStart] = dataclasses.field(default_factory=dict)
    seen: dict[str, int] = dataclasses.field(default_factory=dict)
    numbers: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    learning_rate: float | None = None
    callbacks: dict[str, Any] = dataclasses.field(default_factory=dict)
    changed: dict[str, dict[str, tuple[float, float]]] = dataclasses.field(default_factory=dict)
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def save(self, store: MutableMapping[str, Any]) -> None:
        """Writes the state to a store.

        Args:
            store: A store of Keras.
        """
        header = {
            **vars(self),
            "values": list(self.values),
            "aside": list(self.aside),
            "starts": {place: dataclasses.astuple(start) for place, start in self.starts.items()},
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
        _check(header)
        keys = [*header["values"], *header["aside"], *((None, name) for name in header["arrays"])]
        missing = [f"{place or 'the optimizer'}: {name}" for n, (place, name) in enumerate(keys) if str(n) not in store]
        if missing:
            raise ValueError(f"The saved state lacks {listed(missing)}. Use another copy of the file.")
        arrays = [np.asarray(store[str(number)]) for number in range(len(keys))]
        entries = [((place, name), array) for (place, name), array in zip(keys, arrays, strict=True)]
        count, known = len(header["values"]), len(header["values"]) + len(header["aside"])
        made = {
            "values": dict(entries[:count]),
            "aside": dict(entries[count:known]),
            "starts": {place: LateStart(*numbers) for place, numbers in header["starts"].items()},
            "arrays": dict(zip(header["arrays"], arrays[known:], strict=True)),
        }
        return cls(**{**header, **made})

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

        fields: dict[str, Any] = {
            field: {places[place]: value for place, value in getattr(self, field).items()} for field in _BY_PLACE
        }
        plan = _moved_plan(self.plan, places)
        return dataclasses.replace(self, plan=plan, values=moved(self.values), aside=moved(self.aside), **fields)


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
    "values": list[tuple[str | None, str]],
    "aside": list[tuple[str, str]],
    "starts": dict[str, tuple[int, int, int]],
    "seen": dict[str, int],
    "numbers": dict[str, dict[str, float]],
    "learning_rate": float | None,
    "callbacks": dict,
    "changed": dict[str, dict[str, tuple[float, float]]],
    "arrays": list[str],
}


def _check(header: Any) -> None:
    where = "The saved state of the optimizer"
    checks.check_record(header, _FIELDS, where)
    checks.check(
        {**header, "callbacks": {}, "plan": {}}, where
    )  # the plan is checked next, by callbacks what they saved
    saved_plan.check_config(header["plan"])
    known = {row["place"] for row in header["plan"]["rows"]}
    places = {field: set(header[field]) for field in _BY_PLACE}
    places |= {field: {place for place, _ in header[field]} for field in ("values", "aside")}
    changed = [{name: pair[n] for name, pair in pairs.items()} for pairs in header["changed"].values() for n in (0, 1)]
    valid = {
        **{field: inside <= known for field, inside in places.items()},
        "starts": places["starts"] <= known and all(map(_is_count, itertools.chain(*header["starts"].values()))),
        "seen": places["seen"] <= known and all(map(_is_count, header["seen"].values())),
        "numbers": places["numbers"] <= known and all(map(_are_numbers, header["numbers"].values())),
        "changed": places["changed"] <= known and all(map(_are_numbers, changed)),
        "values": places["values"] <= known | {None} and [None, keras_private.ITERATION] in header["values"],
        "arrays": len(set(header["arrays"])) == len(header["arrays"]),
    }
    for field, is_valid in valid.items():
        if not is_valid:
            raise ValueError(f"{where} has no valid '{field}'. Received: {shown(header[field])}.")


def _are_numbers(by_name: dict[str, float]) -> bool:
    own = {name: number for name, number in by_name.items() if name != MULTIPLIER}
    hyperparameters.check_json(own)
    return by_name.get(MULTIPLIER, 1.0) > 0
