"""What a stock Keras optimizer would have done at a given rate, from the same state, with the same gradients."""

import keras
import numpy as np

from difflr import keras_private
from difflr.optimizers import DifferentialOptimizer
from difflr.verification.observation import Observation, PartState, Values

CLIPPING = ("clipnorm", "clipvalue", "global_clipnorm")


class Reference:
    """The stock optimizer behind one of the optimizers that were watched, on copies, at one rate for all of them.

    Not the watched optimizer with its plan: whatever is wrong with it would be wrong in both.

    Args:
        part: The optimizer before the update.
        observation: The update.
    """

    def __init__(self, part: PartState, observation: Observation):
        self._part = part
        self._before = observation.found
        self._class = reference_class(type(part.optimizer))
        self._config = {**self._class.get_config(part.optimizer), "loss_scale_factor": None}
        if issubclass(self._class, DifferentialOptimizer):
            self._config["multipliers"] = None
        self._gradients = self._clipped(self._accumulated(observation.gradients))

    def moves(self, variables: list[keras.Variable], rate: float, decay: float) -> Values:
        """How far the variables would have moved.

        Args:
            variables: Some of those that the optimizer trains.
            rate: The factor on the base rate.
            decay: The factor on what the weight decay is multiplied by: rate and decay are separate here.
        """
        part = self._part
        config = {**self._config, **dict.fromkeys(CLIPPING), "gradient_accumulation_steps": None}
        config["learning_rate"] = part.base_rate * rate
        for name in config:
            if name.endswith("weight_decay") and config[name]:
                config[name] *= decay / rate
        variables = [variable for variable in variables if id(variable) in self._gradients]
        copies = [keras_private.copy_of(variable, self._before[id(variable)]) for variable in variables]
        if not copies:
            return {}
        optimizer = self._class.from_config(config)
        own = list(optimizer.variables)
        optimizer.build(copies)
        self._give_state(optimizer, own, variables)
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
        """The gradients of the update: the mean over the batches that were accumulated."""
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

    def _clipped(self, gradients: Values) -> Values:
        own = {id(v): gradients[id(v)] for v in self._part.variables if id(v) in gradients}
        config = {**self._config, "learning_rate": 1.0, "gradient_accumulation_steps": None}
        tensors = [keras.ops.convert_to_tensor(np.asarray(gradient, "float32")) for gradient in own.values()]
        clipped = keras_private.clipped(self._class.from_config(config), tensors)
        return dict(zip(own, map(keras.ops.convert_to_numpy, clipped), strict=True))


def stock_class(optimizer_class: type) -> type[keras.optimizers.Optimizer]:
    """The optimizer without anybody's rates: what difflr derived from, or else the one of Keras's behind it.

    Args:
        optimizer_class: The class of an optimizer.
    """
    bases = [base for base in optimizer_class.__mro__ if issubclass(base, keras.optimizers.Optimizer)]
    stock = next(base for base in bases if not issubclass(base, DifferentialOptimizer))
    public = keras_private.public_class(stock)
    is_wrapped = stock is not optimizer_class and not stock.__module__.startswith("keras.")
    return stock if is_wrapped or public is keras.optimizers.Optimizer else public


def reference_class(optimizer_class: type) -> type[keras.optimizers.Optimizer]:
    """What an optimizer is compared with: the stock one, or itself where somebody derived from one of difflr's.

    Args:
        optimizer_class: The class of an optimizer.
    """
    is_derived = issubclass(optimizer_class, DifferentialOptimizer) and not _is_of(optimizer_class, "difflr")
    return optimizer_class if is_derived else stock_class(optimizer_class)


def has_own_rule(optimizer_class: type) -> bool:
    """Whether an optimizer may update in another way than the one that it is compared with.

    Args:
        optimizer_class: The class of an optimizer.
    """
    return not issubclass(optimizer_class, DifferentialOptimizer) and not _is_of(optimizer_class, "keras")


def _is_of(optimizer_class: type, package: str) -> bool:
    return optimizer_class.__module__.split(".")[0] == package
