"""The plans of an optimizer."""

import keras

from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.unwrap import parts
from difflr.plan import Plan


def plan_in_force(optimizer: DifferentialOptimizer) -> Plan:
    """The plan with the multipliers and the frozen variables of this moment."""
    return optimizer._current_plan()


def whole_plan(optimizer: DifferentialOptimizer) -> Plan:
    """The plan without what only the current phase freezes."""
    return optimizer._replanning.whole_plan()


def plan_of(model: keras.Layer) -> Plan:
    """The plan in force."""
    (part,) = parts(model.optimizer)
    return plan_in_force(part)
