"""The numbers of `difflr.summary`: for each layer its groups, its rates, and what training it takes."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import keras
import numpy as np
from keras.optimizers.schedules import LearningRateSchedule

from difflr import keras_private
from difflr.checks import checked_steps
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.unwrap import effective_rates, parts
from difflr.plan import Plan, layer_tree
from difflr.plan.group_names import groups_by_name
from difflr.report.flops import forward_flops, step_flops
from difflr.report.rates import accumulation_of, base_rate, planned_rates, schedule_of, values_at

MAX_LOOKS = 200  # for the end of a warm-up


@dataclasses.dataclass(frozen=True)
class LayerNumbers:
    """One layer, or the whole model.

    Args:
        layer: The layer.
        level: How deep it is nested.
        groups: The names of its groups; none for frozen weights.
        multipliers: The multipliers of its trainable weights, ascending, without repetition.
        rates: Their effective rates now; empty if the model has no optimizer.
        decays: Their factors on the weight decay.
        rates_at: Their rates at each moment.
        parameters: The number of its parameters, statistics included.
        planned: The number of those that the plan covers: all but statistics.
        trainable: The number of those that are trained.
        state: Bytes of the optimizer's state for it; `None` if the optimizer is not built.
        flops: Its part in the arithmetic of the forward pass, 0 to 1; `None` if that is not known.
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
        layers: The layers of the model, in Keras's order.
        total: The whole model.
        moments: The steps of `LayerNumbers.rates_at`, with a name such as "end of warm-up".
        optimizer_state: Bytes of the whole state of the optimizer; `None` if it is not built.
        saved: The share of a step's arithmetic that freezing saves, an estimate; `None` if it is not known.
    """

    layers: tuple[LayerNumbers, ...]
    total: LayerNumbers
    moments: dict[int, str]
    optimizer_state: int | None
    saved: float | None


def summary_numbers(model: keras.Model, plan: Plan | None = None, num_steps: int | None = None) -> SummaryNumbers:
    """The numbers of a summary.

    Args:
        model: A built model.
        plan: A plan; `None` for that of the model.
        num_steps: The number of steps of a training whose rates are shown, or `None`.

    Raises:
        ValueError: If the model is not built, or `num_steps` is no positive integer.
    """
    if num_steps is not None:
        num_steps = checked_steps(num_steps)
    numbers = _Numbers(model, plan, num_steps)
    return SummaryNumbers(
        tuple(numbers.of_layer(layer, level) for layer, level in _layers(model)),
        numbers.of_layer(model, 0),
        numbers.moments,
        None if numbers.state is None else sum(_bytes(variable) for variable in model.optimizer.variables),
        numbers.saved(),
    )


class _Numbers:
    """The numbers of each variable, by identity.

    Args:
        model: As for `summary_numbers`.
        plan: As there.
        num_steps: As there.
    """

    def __init__(self, model: keras.Model, plan: Plan | None, num_steps: int | None):
        optimizer = getattr(model, "optimizer", None)
        self.plan = plan or plan_of(model)
        self.rows = {id(row.variable): row for row in self.plan.rows}
        self.groups = {
            id(row.variable): name for name, group in groups_by_name(self.plan).items() for row in group.rows
        }
        self.flops = forward_flops(model)
        self.moments: dict[int, str] = {}
        self.rates: dict[int, float] = {}
        self.state: dict[int, int] | None = None
        if optimizer is not None:
            self.moments = _moments(optimizer, num_steps) if num_steps else {}
            if optimizer.built and plan is None:
                self.rates = effective_rates(optimizer)
            else:
                self.rates = self.rates_at(optimizer, keras_private.applications(parts(optimizer)[0]))
            self.state = _state_of(optimizer) if optimizer.built else None
        self.later = [self.rates_at(optimizer, step) for step in self.moments]

    def rates_at(self, optimizer: keras.optimizers.Optimizer, step: int) -> dict[int, float]:
        """The rate of every trainable variable at a step, by the plan."""
        steps, rates = np.array([step]), {}
        for part in parts(optimizer):
            base, trained = values_at(base_rate(part), steps), set(map(id, keras_private.trained(part)))
            for key, row in self.rows.items():
                if not row.frozen and (key in trained or not trained):
                    factors = schedule_of(row, steps, accumulation_of(part))
                    rates[key] = float(planned_rates(row, base, factors)[0])
        return rates

    def of_layer(self, layer: keras.Layer, level: int) -> LayerNumbers:
        """The numbers of a layer that is nested so deep."""
        own = {id(leaf.variable) for leaf in layer_tree.walk(layer) if leaf.variable is not None}
        rows = {key: row for key, row in self.rows.items() if key in own}
        trainable = {key: row for key, row in rows.items() if not row.frozen}
        flops = None
        if self.flops and any(self.flops.values()):
            flops = sum(self.flops.get(key, 0.0) for key in rows) / sum(self.flops.values())
        return LayerNumbers(
            layer,
            level,
            tuple(dict.fromkeys(self.groups[key] for key in trainable)),
            _distinct(row.multiplier for row in trainable.values()),
            _distinct(self.rates[key] for key in trainable if key in self.rates),
            _distinct(row.weight_decay_multiplier for row in trainable.values()),
            tuple(_distinct(rates[key] for key in trainable if key in rates) for rates in self.later),
            layer.count_params() if layer.built else 0,
            sum(row.num_parameters for row in rows.values()),
            sum(row.num_parameters for row in trainable.values()),
            None if self.state is None else sum(self.state.get(key, 0) for key in rows),
            flops,
        )

    def saved(self) -> float | None:
        """The share of a step's arithmetic that freezing saves."""
        everything = step_flops(self.flops, set(self.rows)) if self.flops else 0
        return 1 - step_flops(self.flops, set(self.groups)) / everything if self.flops and everything else None


def _state_of(optimizer: keras.optimizers.Optimizer) -> dict[int, int]:
    """Bytes of the state of each variable."""
    state: dict[int, int] = {}
    for part in parts(optimizer):
        variables = keras_private.trained(part)
        for slot in keras_private.slots(part, len(variables)).values() if variables else ():
            for variable, value in zip(variables, slot, strict=True):
                state[id(variable)] = state.get(id(variable), 0) + (0 if value is None else _bytes(value))
    return state


def _layers(model: keras.Layer, level: int = 0) -> Iterator[tuple[keras.Layer, int]]:
    for layer in model.layers:
        yield layer, level
        if getattr(layer, "layers", None):
            yield from _layers(layer, level + 1)


def _moments(optimizer: keras.optimizers.Optimizer, num_steps: int) -> dict[int, str]:
    """The start, the end of the warm-up if there is one, the middle and the end."""
    base = base_rate(parts(optimizer)[0])
    warmup = getattr(base, "warmup_steps", None)
    if not warmup and isinstance(base, LearningRateSchedule):
        steps = np.unique(np.linspace(0, num_steps - 1, MAX_LOOKS).astype("int64"))
        warmup = int(steps[values_at(base, steps).argmax()])
    found = {0: "start"}
    if isinstance(warmup, int) and 0 < warmup < num_steps - 1:
        found[warmup] = "end of warm-up"
    found.setdefault(num_steps // 2, "middle")
    found[num_steps - 1] = "end"
    return dict(sorted(found.items()))


def _distinct(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(sorted(set(values)))


def _bytes(variable: keras.Variable) -> int:
    dtype = keras.backend.standardize_dtype(variable.dtype)
    bits = 8 if dtype == "bool" else int("".join(filter(str.isdigit, dtype.split("_")[0])) or 32)
    return math.prod(variable.shape) * (16 if dtype == "bfloat16" else bits) // 8
