"""Every optimizer of `keras.optimizers` with a learning rate per variable, under its own name.

The list comes from Keras; `differential` converts any other `keras.optimizers.Optimizer`.
"""

from difflr.optimizers.differential_optimizer import DifferentialOptimizer
from difflr.optimizers.differential import differential, optimizer_classes

from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.replan import replan
from difflr.optimizers.state_tree import extend_state_trees

_CLASSES = {name: differential(stock) for name, stock in optimizer_classes().items()}
globals().update(_CLASSES)
extend_state_trees()

__all__ = ["DifferentialOptimizer", "differential", "plan_of", "replan", *sorted(_CLASSES)]
