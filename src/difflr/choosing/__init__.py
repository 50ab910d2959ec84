"""Measured learning rates: `suggest` compares candidates, `find_learning_rate` sweeps over rates."""

from difflr.choosing.choice import Choice, Cost, Tried
from difflr.choosing.find_learning_rate import find_learning_rate
from difflr.choosing.learning_rate_curve import LearningRateCurve
from difflr.choosing.suggest import suggest
from difflr.fine_tuning import chosen

chosen.search = suggest  # what learning_rate="auto" does

__all__ = ["Choice", "Cost", "LearningRateCurve", "Tried", "find_learning_rate", "suggest"]
