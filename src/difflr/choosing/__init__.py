"""Rates measured instead of guessed: `find_learning_rate`, the sweep."""

from difflr.choosing.find_learning_rate import find_learning_rate
from difflr.choosing.learning_rate_curve import LearningRateCurve

__all__ = ["LearningRateCurve", "find_learning_rate"]
