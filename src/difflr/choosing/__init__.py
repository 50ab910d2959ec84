"""Learning rates by default and measured: `suggest` compares candidates, `find_learning_rate` sweeps over rates."""

from difflr.choosing.choice import Choice, Cost, Tried
from difflr.choosing.find_learning_rate import find_learning_rate
from difflr.choosing.fine_tune_settings import FineTuneSettings, fine_tune_settings
from difflr.choosing.learning_rate_curve import LearningRateCurve
from difflr.choosing.suggest import suggest

__all__ = [
    "Choice",
    "Cost",
    "FineTuneSettings",
    "LearningRateCurve",
    "Tried",
    "find_learning_rate",
    "fine_tune_settings",
    "suggest",
]
