"""The numbers of `difflr.summary`: for each layer who it trains with, at which rate, and what that takes."""

import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from difflr import keras_private
from difflr.optimizers import DifferentialOptimizer, plan_of
from difflr.optimizers.unwrap import effective_rates, parts
from difflr.plan import Plan, Row, layer_tree
from difflr.plan.group_names import group_labels
from difflr.report.flops import forward_flops, step_flops


@dataclasses.dataclass(frozen=True)
class Moment:
    """A step whose rates are asked for.

    Args:
        name: What it is: "start", "end of warm-up", "middle", "end".
        step: Integer.
    """

    name: str
    step: int


@dataclasses.dataclass(frozen=True)
class LayerNumbers:
    """One layer, or the whole model.

    Args:
        layer: The layer.
        level: How deep it is nested.
        groups: The labels of its groups; of frozen weights none.
        multipliers: The multipliers of its trainable weights, smallest first, each once.
        rates: Their effective rates now; empty where no optimizer is known.
        decays: Their factors on the weight decay.
        rates_at: The same rates at each moment asked for.
        parameters: How many numbers it holds, statistics included.
        planned: How many of them a plan speaks of: all but statistics.
        trainable: How many of them are trained.
        state: Bytes of the optimizer's state for it; `None` where the optimizer is not built.
        flops: Its part in the arithmetic of the forward pass, 0 to 1; `None` where that is not known.
    """

    layer: keras.Layer
    level: int
    groups: tuple[str, ...]
    multipliers: tuple[float, ...]
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    rates_at: tuple[tuple[float, ...], ...]
    parameters: int
    planned: int
    trainable: int
    state: int | None
    flops: float | None


@dataclasses.dataclass(frozen=True)
class SummaryNumbers:
    """All numbers of a summary.

    Args:
        model: The model.
        layers: Its layers, in Keras's order.
        total: The whole model.
        moments: The steps of `LayerNumbers.rates_at`.
        optimizer_state: Bytes of the whole state of the optimizer; `None` where it is not built.
        saved: The share of a step's arithmetic that freezing saves, an estimate; `None` where it is not known.
    """

    model: keras.Model
    layers: tuple[LayerNumbers, ...]
    total: LayerNumbers
    moments: tuple[Moment, ...]
    optimizer_state: int | None
    saved: float | None


class _Facts:
    """What is known of each variable, by identity."""

    def __init__(self, model: keras.Model, plan: Plan, moments: Sequence[Moment]):
        optimizer = getattr(model, "optimizer", None)
        self.rows: dict[int, Row] = {id(row.variable): row for row in plan.rows}
        self.labels = _labels(plan)
        self.rates: dict[int, float] = {}
        self.state: dict[int, int] | None = None
        self.rates_at: list[dict[int, float]] = [{} for _ in moments]
        if optimizer is not None:
            self._of_optimizer(optimizer, plan, moments)
        self.flops = forward_flops(model)

    def _of_optimizer(self, optimizer: Any, plan: Plan, moments: Sequence[Moment]) -> None:
        for part in parts(optimizer):
            variables = keras_private.trained(part) or [row.variable for row in plan.rows if not row.frozen]
            base = keras_private.live_learning_rate(part)
            for variable in variables:
                row = self.rows.get(id(variable))
                ours = isinstance(part, DifferentialOptimizer) and row is not None
                for number, moment in enumerate(moments):
                    factor = row.multiplier * _at(row.schedule, moment.step) if ours and row else 1.0
                    self.rates_at[number][id(variable)] = _at(base, moment.step) * factor
                if not part.built:
                    step = keras_private.applications(part)
                    factor = row.multiplier * _at(row.schedule, step) if ours and row else 1.0
                    self.rates[id(variable)] = _at(base, step) * factor
        if optimizer.built:
            self.rates.update(effective_rates(optimizer))
            self.state = {}
            for part in parts(optimizer):
                variables = keras_private.trained(part)
                for slot in keras_private.slots(part, len(variables)).values() if variables else ():
                    for variable, each in zip(variables, slot, strict=True):
                        self.state[id(variable)] = self.state.get(id(variable), 0) + (
                            0 if each is None else _bytes(each)
                        )


def summary_numbers(model: keras.Model, plan: Plan | None = None, num_steps: int | None = None) -> SummaryNumbers:
    """The numbers of a summary.

    Args:
        model: A built model.
        plan: Its plan; `None` for that of its optimizer, or else what the layers declare.
        num_steps: The number of steps of a training, whose rates are asked for.

    Raises:
        ValueError: If the model is not built, or `num_steps` is none.
    """
    if num_steps is not None and (not isinstance(num_steps, int) or num_steps < 1):
        raise ValueError(f"`num_steps` must be a number of steps, 1 or more. Received: {num_steps!r}.")
    plan = plan or plan_of(model)
    optimizer = getattr(model, "optimizer", None)
    moments = tuple(_moments(optimizer, num_steps)) if optimizer is not None and num_steps else ()
    facts = _Facts(model, plan, moments)
    layers = tuple(_of_layer(layer, level, facts) for layer, level in _walk(model))
    total = _of_layer(model, 0, facts)
    state = sum(_bytes(v) for v in optimizer.variables) if optimizer is not None and optimizer.built else None
    return SummaryNumbers(model, layers, total, moments, state, _saved(plan, facts))


def _labels(plan: Plan) -> dict[int, str]:
    groups = plan.groups
    labels = group_labels([[row.path for row in group.rows] for group in groups], [row.path for row in plan.rows])
    return {id(row.variable): label for label, group in zip(labels, groups, strict=True) for row in group.rows}


def _walk(model: keras.Layer, level: int = 0) -> Iterable[tuple[keras.Layer, int]]:
    for layer in model.layers:
        yield layer, level
        if getattr(layer, "layers", None):
            yield from _walk(layer, level + 1)


def _of_layer(layer: keras.Layer, level: int, facts: _Facts) -> LayerNumbers:
    own = {id(leaf.variable) for leaf in layer_tree.walk(layer) if leaf.variable is not None} & facts.rows.keys()
    keys = [key for key in facts.rows if key in own]
    trainable = [key for key in keys if not facts.rows[key].frozen]
    flops = None
    if facts.flops is not None:
        total = sum(facts.flops.values())
        flops = sum(facts.flops.get(key, 0.0) for key in keys) / total if total else None
    return LayerNumbers(
        layer,
        level,
        tuple(dict.fromkeys(facts.labels[key] for key in trainable)),
        _each_once(facts.rows[key].multiplier for key in trainable),
        _each_once(facts.rates[key] for key in trainable if key in facts.rates),
        _each_once(facts.rows[key].weight_decay_multiplier for key in trainable),
        tuple(_each_once(rates[key] for key in trainable if key in rates) for rates in facts.rates_at),
        layer.count_params() if layer.built else 0,
        sum(facts.rows[key].num_parameters for key in keys),
        sum(facts.rows[key].num_parameters for key in trainable),
        None if facts.state is None else sum(facts.state.get(key, 0) for key in keys),
        flops,
    )


def _saved(plan: Plan, facts: _Facts) -> float | None:
    if not facts.flops:
        return None
    everything = step_flops(facts.flops, set(facts.rows))
    trainable = {id(row.variable) for row in plan.rows if not row.frozen}
    return 1 - step_flops(facts.flops, trainable) / everything if everything else None


def _moments(optimizer: Any, num_steps: int) -> list[Moment]:
    """The start, the end of the warm-up where there is one, the middle and the end."""
    base = keras_private.live_learning_rate(parts(optimizer)[0])
    warmup = getattr(base, "warmup_steps", None)
    if not warmup and isinstance(base, keras.optimizers.schedules.LearningRateSchedule):
        steps = sorted({round(part * (num_steps - 1) / 200) for part in range(201)})
        warmup = max(steps, key=lambda step: _at(base, step))
    found = {0: "start"}
    if isinstance(warmup, int) and 0 < warmup < num_steps - 1:
        found[warmup] = "end of warm-up"
    found.setdefault(num_steps // 2, "middle")
    found[num_steps - 1] = "end"
    return [Moment(name, step) for step, name in sorted(found.items())]


def _at(schedule: Any, step: int) -> float:
    if schedule is None:
        return 1.0
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        schedule = schedule(keras.ops.convert_to_tensor(step, dtype="int32"))
    elif callable(schedule):
        schedule = schedule()
    return float(keras.ops.convert_to_numpy(schedule))


def _each_once(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


def _bytes(variable: Any) -> int:
    dtype = keras.backend.standardize_dtype(variable.dtype)
    bits = 8 if dtype == "bool" else int("".join(filter(str.isdigit, dtype.split("_")[0])) or 32)
    return math.prod(variable.shape) * (16 if dtype == "bfloat16" else bits) // 8
