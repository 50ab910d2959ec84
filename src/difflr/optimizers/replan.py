"""Who is trainable changes while training: the optimizer is built anew for them, and keeps its state by variable."""

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from difflr import checks, keras_private
from difflr.checks import listed, shown
from difflr.optimizers import saved_state
from difflr.optimizers.late_start import LateStart
from difflr.plan import Plan, Row, layer_tree, saved_plan
from difflr.plan.plan import STATISTICS
from difflr.plan.rows import BY_USER

SAVED = "phases"
SAVED_ASIDE = "aside_"


@dataclasses.dataclass(frozen=True)
class Member:
    """What the optimizer knows of a variable that is trainable.

    Args:
        joined_at: The optimizer's step at which it became trainable.
        warmup_steps: The length of its warm-up from then on.
        behind: How many gradients fewer than the optimizer's its state has seen, where it counts them for itself.
    """

    joined_at: int = 0
    warmup_steps: int = 0
    behind: int = 0


@dataclasses.dataclass(frozen=True)
class Trainable:
    """Who is trainable, and under which terms.

    Args:
        variables: The identities of the trainable variables.
        reason: What the plan's table says about the others.
        frozen_statistics: As of a plan.
        frozen_layers: Paths of the frozen BatchNormalization layers that have nothing to train.
    """

    variables: frozenset[int]
    reason: str
    frozen_statistics: str = "keep"
    frozen_layers: tuple[str, ...] = ()


class Replanning:
    """The optimizer's state by variable, over all changes of who is trainable.

    The plan in force is the whole plan with those frozen who are not trainable. What freezes leaves its state here, in the
    memory of the host, and finds it again when it unfreezes; what never was trainable has none. All is saved with the
    optimizer's state, and loading restores who was trainable.

    Args:
        optimizer: A differential optimizer.
    """

    def __init__(self, optimizer: Any):
        self._optimizer = optimizer
        self._before_build: list[Any] = []
        self._whole: Plan | None = None
        self._live: Trainable | None = None
        self._members: dict[int, Member] = {}
        self._seen: dict[int, int] = {}  # of those set aside: how many gradients their state has seen
        self._aside: dict[int, dict[str, np.ndarray]] = {}
        self._unbound: dict[str, Any] | None = None  # as it was saved: nobody has told the model yet
        self.record: dict[str, Any] = {}  # what a callback wants to be saved with all this

    def before_build(self, variables: list[Any]) -> None:
        """Notes which variables the optimizer has before it is built: its step and its rate."""
        self._before_build = list(variables)

    @property
    def in_force(self) -> bool:
        """Whether somebody has chosen who is trainable, here or before it was saved."""
        return self._whole is not None or self._unbound is not None

    @property
    def trainable(self) -> Trainable | None:
        """Who is trainable; `None` for whoever the plan does not freeze."""
        return self._live

    def whole_plan(self) -> Plan:
        """The plan without phases, with the multipliers of this moment, and what the user has frozen since."""
        current = self._optimizer._current_plan()
        whole = current if self._whole is None else _with_multipliers_of(self._whole, current)
        return whole._replaced([_as_frozen_by_hand(row) for row in whole.rows])

    def go_live(
        self, model: keras.Layer, trainable: Trainable, warmup_steps: int = 0, own_bias_correction: bool = True
    ) -> None:
        """Makes these variables train, and nobody else, with all state kept.

        Args:
            model: The model that the optimizer is bound to.
            trainable: Who.
            warmup_steps: The length of the warm-up of those who join now.
            own_bias_correction: Whether those who join now count the steps of Adam's bias correction for themselves.
        """
        whole, step = self.whole_plan(), self._step()
        members, seen = dict(self._members), dict(self._seen)
        if self._whole is None and step > 0:
            members = {id(variable): Member() for variable in self._optimizer._groups.trainable}
        for key in members.keys() - trainable.variables:
            seen[key] = step - members.pop(key).behind
        for key in trainable.variables - members.keys():
            behind = step - seen.pop(key, 0)
            members[key] = Member(step, warmup_steps, behind if own_bias_correction else 0)
        shared = self._put_aside()
        self._whole, self._live, self._members = whole, trainable, members
        self._seen = {key: number for key, number in seen.items() if number}
        self._build(model, self._plan_in_force(), shared)

    def go_back(self, model: keras.Layer) -> None:
        """Makes everything train again that the plan does not freeze.

        Args:
            model: The model that the optimizer is bound to.
        """
        whole = self.whole_plan()
        everyone = frozenset(id(row.variable) for row in whole.rows if not row.frozen)
        self.go_live(model, Trainable(everyone, "", frozen_statistics=whole.frozen_statistics))

    def _plan_in_force(self) -> Plan:
        whole, trainable = self._whole, self._live
        betas = keras_private.bias_correction(self._optimizer)
        accumulation = self._optimizer.gradient_accumulation_steps or 1
        rows = [
            _row(row, self._members.get(id(row.variable)), betas, trainable.reason, accumulation) for row in whole.rows
        ]
        statistics = [
            dataclasses.replace(s, frozen=s.frozen or s.path in trainable.frozen_layers) for s in whole._statistics
        ]
        return Plan._from_rows(rows, statistics, trainable.frozen_statistics)

    def _step(self) -> int:
        return int(keras.ops.convert_to_numpy(self._optimizer.iterations))

    # -- state by variable --------------------------------------------------------------------------------------------

    def _put_aside(self) -> dict[str, np.ndarray]:
        """Takes the state of all trainable variables; returns the state that belongs to no variable."""
        optimizer, trainable = self._optimizer, self._optimizer._groups.trainable
        slots = keras_private.slots(optimizer, len(trainable))
        shared = keras_private.shared_state(optimizer, self._before_build)
        parts = (self._before_build, shared.values(), [optimizer._groups.vector], *slots.values())
        known = set(map(id, itertools.chain(*parts)))
        strange = [variable.path for variable in optimizer.variables if id(variable) not in known]
        if strange:
            raise ValueError(
                f"{type(optimizer).__name__} keeps {listed(strange)} in no attribute that is a variable or a "
                "list with one entry for each variable it trains, so its state cannot be kept over a change of phase."
            )
        for position, variable in enumerate(trainable):
            mine = {name: slot[position] for name, slot in slots.items() if slot[position] is not None}
            self._aside[id(variable)] = {name: _as_numpy(value) for name, value in mine.items()}
        return {name: _as_numpy(value) for name, value in shared.items()}

    def _build(self, model: keras.Layer, plan: Plan, shared: dict[str, np.ndarray]) -> None:
        """Builds the optimizer for the trainable variables of `plan`, and gives them their state back."""
        optimizer = self._optimizer
        plan.freeze()
        trainable = [variable for variable in model.trainable_variables if variable in plan]
        keras_private.unbuild(optimizer, self._before_build)
        with keras_private.strategy_scope(model):
            optimizer._build_for(plan, trainable)
        late = self._step() > 0
        for name, slot in keras_private.slots(optimizer, len(trainable)).items():
            for variable, each in zip(trainable, slot, strict=True):
                if each is not None and name in self._aside.get(id(variable), {}):
                    each.assign(self._aside[id(variable)][name])
                elif each is not None and name == keras_private.AVERAGES and late:
                    each.assign(_as_numpy(variable))  # an average that begins at 0 would draw the variable there
        for name, variable in keras_private.shared_state(optimizer, self._before_build).items():
            variable.assign(shared[name])
        self._aside = {key: state for key, state in self._aside.items() if key in self._seen}
        for state in self._aside.values():
            state.pop(keras_private.ACCUMULATORS, None)  # gradients of a batch that is not complete

    # -- saving and loading -------------------------------------------------------------------------------------------

    def save(self, store: Any) -> None:
        """Saves who is trainable, and the state of those who are not.

        Args:
            store: What Keras saves the optimizer's state in.
        """
        if self._unbound is not None:
            data, arrays = self._unbound["data"], self._unbound["arrays"]
        elif self._whole is None or self._live is None:
            return
        else:
            whole = self.whole_plan()
            members = [self._members.get(id(row.variable)) for row in whole.rows]
            arrays, aside = [], []
            for number, row in enumerate(whole.rows):
                for name, value in self._aside.get(id(row.variable), {}).items():
                    aside.append([number, name])
                    arrays.append(value)
            data = {
                "plan": saved_plan.to_config(whole),
                "trainable": {**dataclasses.asdict(self._live), "variables": None},
                "members": [None if each is None else dataclasses.astuple(each) for each in members],
                "seen": [self._seen.get(id(row.variable), 0) for row in whole.rows],
                "aside": aside,
                "record": self.record,
            }
        store[SAVED] = saved_state.as_array(data)
        for number, array in enumerate(arrays):
            store[f"{SAVED_ASIDE}{number}"] = array

    def load(self, state: dict[str, Any], model: keras.Layer | None) -> None:
        """Takes out of a saved state what `save` has put there, and makes those trainable who were.

        Args:
            state: The saved state, by name.
            model: The model, where it is known. Else the optimizer has to be built for those who were trainable.
        """
        saved = state.pop(SAVED, None)
        if saved is None:
            if self.in_force and model is not None:
                self._unbound = None
                self.go_back(model)
                self._whole = self._live = None
                self._members, self._seen, self._aside, self.record = {}, {}, {}, {}
            return
        data = _checked(saved_state.from_array(saved))
        names = [f"{SAVED_ASIDE}{number}" for number in range(len(data["aside"]))]
        missing = [name for name in names if name not in state]
        if missing:
            raise ValueError(f"The saved state lacks {listed(missing)}, the state of variables that wait frozen.")
        arrays = [np.array(state.pop(name)) for name in names]
        self._unbound = {"data": data, "arrays": arrays}
        if model is not None:
            shared = self._put_aside()
            self.bound(model)
            self._build(model, self._plan_in_force(), shared)

    @contextlib.contextmanager
    def undone_on_error(self, state: dict[str, Any], model: keras.Layer | None) -> Iterator[None]:
        """Takes everything back to where it was if the block that loads `state` raises.

        Args:
            state: What is loaded.
            model: The model, where it is known.
        """
        optimizer, groups = self._optimizer, self._optimizer._groups
        fields = dict(vars(self), record=dict(self.record))
        fields["_aside"] = {key: dict(each) for key, each in self._aside.items()}
        rebuilds = model is not None and (SAVED in state or self.in_force)
        values = [_as_numpy(variable) for variable in optimizer.variables] if rebuilds else None
        try:
            yield
        except Exception:
            vars(self).update(fields)
            if values is not None:
                groups.plan.freeze()
                keras_private.unbuild(optimizer, self._before_build)
                with keras_private.strategy_scope(model):
                    optimizer._build_for(groups.plan, groups.trainable)
                for variable, value in zip(optimizer.variables, values, strict=True):
                    variable.assign(value)
            raise

    def bound(self, model: keras.Layer) -> Plan | None:
        """Finds in `model` the variables that were loaded without one.

        Args:
            model: The model.

        Returns:
            The plan in force, with the paths and layers of `model`; `None` if nothing was loaded.
        """
        if self._unbound is None:
            return None
        data, arrays = self._unbound["data"], self._unbound["arrays"]
        _mark_frozen(model, data)
        whole = saved_plan.bind_to_model(data["plan"], Plan(model), Plan._from_rows)
        by_path = {row["path"]: number for number, row in enumerate(data["plan"]["rows"])}
        keys = [id(row.variable) for row in sorted(whole.rows, key=lambda row: by_path[row.path])]
        self._members = {key: Member(*each) for key, each in zip(keys, data["members"], strict=True) if each}
        self._seen = {key: number for key, number in zip(keys, data["seen"], strict=True) if number}
        self._aside = {}
        for (number, name), array in zip(data["aside"], arrays, strict=True):
            self._aside.setdefault(keys[number], {})[name] = array
        terms = {**data["trainable"], "frozen_layers": tuple(data["trainable"]["frozen_layers"])}
        self._live = Trainable(**{**terms, "variables": frozenset(self._members)})
        self._whole, self._unbound, self.record = whole, None, data["record"]
        return self._plan_in_force()


def _row(
    whole: Row, member: Member | None, betas: tuple[float, float | None] | None, reason: str, accumulation: int
) -> Row:
    """The row of a variable while it is trainable (`member`), or while it is not."""
    if whole.frozen:
        return whole
    if member is None:
        decided = {**whole.decided, "frozen": reason}
        return dataclasses.replace(whole, multiplier=0.0, schedule=None, frozen=True, decided=decided)
    behind = member.behind if betas else 0
    if not behind and not member.warmup_steps:
        return whole
    beta_1, beta_2 = betas if behind and betas else (None, None)
    joined_at = member.joined_at if member.warmup_steps else 0  # else groups would differ by it
    newcomer = LateStart(whole.schedule, joined_at, member.warmup_steps, behind, beta_1, beta_2, accumulation)
    return dataclasses.replace(whole, schedule=newcomer)


def _as_frozen_by_hand(row: Row) -> Row:
    if row.frozen or not layer_tree.frozen_by_hand(row.variable, row.layer):
        return row
    decided = {**row.decided, "frozen": BY_USER}
    return dataclasses.replace(row, multiplier=0.0, schedule=None, frozen=True, decided=decided)


def _with_multipliers_of(whole: Plan, current: Plan) -> Plan:
    """The whole plan, with the multipliers that were changed in the plan in force."""
    rows = []
    for row in whole.rows:
        now = current.row(row.variable)
        rows.append(row if now.frozen else dataclasses.replace(row, multiplier=now.multiplier))
    return whole._replaced(rows)


_FIELDS = {"plan": dict, "trainable": dict, "members": list, "seen": list, "aside": list, "record": dict}


def _checked(data: Any) -> dict[str, Any]:
    """What `save` wrote, if it is that.

    Raises:
        ValueError: If it is not; the message names the field.
    """

    def require(fits: bool, field: str, value: Any) -> None:
        if not fits:
            raise ValueError(f"What was saved of the phases has no valid '{field}'. Received: {shown(value)}.")

    require(isinstance(data, dict), "plan", data)
    for field, kind in _FIELDS.items():
        require(isinstance(data.get(field), kind), field, data.get(field))
    record = {name: value for name, value in data["record"].items() if name != "value"}  # a metric may be NaN
    checks.check({**data, "record": record}, "What was saved of the phases")
    saved_plan.check_config(data["plan"])
    count, trainable = len(data["plan"]["rows"]), data["trainable"]
    require(set(trainable) == {field.name for field in dataclasses.fields(Trainable)}, "trainable", trainable)
    require(
        isinstance(trainable["reason"], str) and trainable["frozen_statistics"] in STATISTICS, "trainable", trainable
    )
    layers = trainable["frozen_layers"]
    require(isinstance(layers, list) and all(isinstance(each, str) for each in layers), "frozen_layers", layers)
    for member in data["members"]:
        numbers = member is None or (isinstance(member, list) and len(member) == 3 and all(map(_counts, member)))
        require(numbers, "members", member)
    require(len(data["members"]) == count and any(data["members"]), "members", data["members"])
    require(len(data["seen"]) == count and all(map(_counts, data["seen"])), "seen", data["seen"])
    for each in data["aside"]:
        pair = isinstance(each, list) and len(each) == 2 and _counts(each[0]) and each[0] < count
        require(pair and isinstance(each[1], str), "aside", each)
    return data


def _counts(number: Any) -> bool:
    return type(number) is int and number >= 0


def _mark_frozen(model: keras.Layer, data: dict[str, Any]) -> None:
    """Marks in a loaded model what a phase froze: a file holds that a layer is not trainable, not who said so."""
    rows = zip(data["plan"]["rows"], data["members"], strict=True)
    frozen = {row["path"] for row, member in rows if member is None and not row["frozen"]}
    frozen |= set(data["trainable"]["frozen_layers"])
    for leaf in layer_tree.walk(model):
        if leaf.path in frozen:
            if leaf.variable is not None:
                leaf.variable.trainable = False
                setattr(leaf.variable, layer_tree.FROZEN_MARK, True)
            elif leaf.layer is not None and not leaf.layer.trainable:
                setattr(leaf.layer, layer_tree.FROZEN_MARK, True)


def _as_numpy(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable))
