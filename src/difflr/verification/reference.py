"""The update of a stock Keras optimizer at a given rate, from the same state and gradients."""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from difflr import keras_private
from difflr.optimizers import DifferentialOptimizer
from difflr.plan import Row
from difflr.plan.rows import grouped
from difflr.plan.schedule import value_at
from difflr.verification.observation import Observation, PartState, Values

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


def schedule_at(schedule: keras.optimizers.schedules.LearningRateSchedule | None, step: int) -> float:
    """The factor of a schedule; 1 without one.

    Args:
        schedule: The schedule.
        step: A count of batches.
    """
    return 1.0 if schedule is None else value_at(schedule, step)


def batch_of(row: Row, part: PartState) -> int:
    """The batch that the row's schedules count at this update.

    Args:
        row: A row of the plan.
        part: The optimizer before the update.
    """
    accumulation = part.optimizer.gradient_accumulation_steps or 1
    return (part.step - row.schedule_start) * accumulation + accumulation - 1


def hyperparameters_at(row: Row, part: PartState) -> dict[str, float]:
    """The hyperparameters that the plan sets, at this update.

    Args:
        row: A row of the plan.
        part: The optimizer before the update.
    """
    values = row.hyperparameters.items()
    return {name: schedule_at(v, batch_of(row, part)) if callable(v) else v for name, v in values}


class Reference:
    """The stock optimizer behind an observed one, applied to copies of its variables at a single rate.

    The observed optimizer itself would repeat its fault.

    Args:
        part: The optimizer before the update.
        observation: The update.
        rows: The plan's rows for the variables of this optimizer.
    """

    def __init__(self, part: PartState, observation: Observation, rows: Sequence[Row] = ()):
        self._part = part
        self._before = observation.found
        self._class = reference_class(type(part.optimizer))
        self._config = {**self._class.get_config(part.optimizer), "loss_scale_factor": None}
        if issubclass(self._class, DifferentialOptimizer):
            self._config["multipliers"] = None
        self._gradients = self._clipped(self._clipped_by_rule(self._accumulated(observation.gradients), rows))

    def moves(
        self, variables: list[keras.Variable], rate: float, decay: float, own: Mapping[str, float] | None = None
    ) -> Values:
        """How far the variables would have moved.

        Args:
            variables: Some of the optimizer's variables.
            rate: The factor on the base rate.
            decay: The factor on the weight decay, separate from the rate here.
            own: Their hyperparameters, by name.
        """
        part = self._part
        config = {**self._config, **dict.fromkeys(CLIPPING), "gradient_accumulation_steps": None}
        config |= {name: value for name, value in (own or {}).items() if name != keras_private.CLIPNORM}
        config["learning_rate"] = part.base_rate * rate
        for name in config:
            if name.endswith("weight_decay") and config[name]:
                config[name] *= decay / rate
        variables = [variable for variable in variables if id(variable) in self._gradients]
        copies = [keras_private.copy_of(variable, self._before[id(variable)]) for variable in variables]
        if not copies:
            return {}
        optimizer = self._class.from_config(config)
        before_build = list(optimizer.variables)
        optimizer.build(copies)
        self._give_state(optimizer, before_build, variables)
        optimizer.apply([keras.ops.convert_to_tensor(self._gradients[id(v)]) for v in variables], copies)
        return {
            id(v): keras.ops.convert_to_numpy(copy).astype("float64") - self._before[id(v)]
            for v, copy in zip(variables, copies, strict=True)
        }

    def _give_state(
        self, optimizer: keras.optimizers.Optimizer, own: list[keras.Variable], variables: list[keras.Variable]
    ) -> None:
        place = {id(variable): number for number, variable in enumerate(self._part.variables)}
        for name, slot in keras_private.slots(optimizer, len(variables)).items():
            for variable, slot_variable in zip(variables, slot, strict=True):
                value = self._part.slots.get(name, {place[id(variable)]: None})[place[id(variable)]]
                if slot_variable is not None and value is not None:
                    slot_variable.assign(value)
        for name, shared in keras_private.shared_state(optimizer, own).items():
            if name in self._part.shared:
                shared.assign(self._part.shared[name])
        keras_private.set_applications(optimizer, self._part.step)

    def _accumulated(self, batches: list[Values]) -> Values:
        """The gradients of the update: the mean over the accumulated batches."""
        steps = self._part.optimizer.gradient_accumulation_steps
        sums: Values = {}
        for gradients in batches if steps else batches[-1:]:
            for key, gradient in gradients.items():
                sums[key] = gradient + sums.get(key, 0.0)
        if not steps:
            return sums
        earlier = self._part.slots.get(keras_private.ACCUMULATORS, [])
        for variable, gradient_sum in zip(self._part.variables, earlier, strict=False):
            if gradient_sum is not None and id(variable) in sums:
                sums[id(variable)] = sums[id(variable)] + gradient_sum
        return {key: gradient / steps for key, gradient in sums.items()}

    def _clipped_by_rule(self, gradients: Values, rows: Sequence[Row]) -> Values:
        """The gradients, clipped by the norms of rules."""
        name, clipped = keras_private.CLIPNORM, dict(gradients)
        having = [row for row in rows if name in row.hyperparameters and id(row.variable) in gradients]
        members = grouped(having, lambda row: row.sharing(name))
        for group in members.values():
            highest = hyperparameters_at(group[0], self._part)[name]
            norm = float(np.sqrt(sum(np.sum(gradients[id(row.variable)].astype("float64") ** 2) for row in group)))
            for row in group:
                clipped[id(row.variable)] = gradients[id(row.variable)] * min(1.0, highest / norm if norm else 1.0)
        return clipped

    def _clipped(self, gradients: Values) -> Values:
        own = {id(v): gradients[id(v)] for v in self._part.variables if id(v) in gradients}
        config = {**self._config, "learning_rate": 1.0, "gradient_accumulation_steps": None}
        tensors = [keras.ops.convert_to_tensor(np.asarray(gradient, "float32")) for gradient in own.values()]
        clipped = keras_private.clipped(self._class.from_config(config), tensors)
        return dict(zip(own, map(keras.ops.convert_to_numpy, clipped), strict=True))


def stock_class(optimizer_class: type) -> type[keras.optimizers.Optimizer]:
    """The optimizer without multipliers: the class that difflr derived from, or the Keras class behind it.

    Args:
        optimizer_class: The class of an optimizer.
    """
    bases = [base for base in optimizer_class.__mro__ if issubclass(base, keras.optimizers.Optimizer)]
    stock = next(base for base in bases if not issubclass(base, DifferentialOptimizer))
    public = keras_private.public_class(stock)
    is_wrapped = stock is not optimizer_class and not stock.__module__.startswith("keras.")
    return stock if is_wrapped or public is keras.optimizers.Optimizer else public


def reference_class(optimizer_class: type) -> type[keras.optimizers.Optimizer]:
    """The class to compare with: the stock class, or the class itself if a user derived it from a difflr class.

    Args:
        optimizer_class: The class of an optimizer.
    """
    is_derived = issubclass(optimizer_class, DifferentialOptimizer) and not _is_of(optimizer_class, "difflr")
    return optimizer_class if is_derived else stock_class(optimizer_class)


def has_own_rule(optimizer_class: type) -> bool:
    """Whether an optimizer may have an update rule of its own.

    Args:
        optimizer_class: The class of an optimizer.
    """
    return not issubclass(optimizer_class, DifferentialOptimizer) and not _is_of(optimizer_class, "keras")


def _is_of(optimizer_class: type, package: str) -> bool:
    return optimizer_class.__module__.split(".")[0] == package
