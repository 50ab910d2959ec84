"""Training in phases."""

from difflr.training import phases
from difflr.training.phase import Phase, Phases
from difflr.training.phase_scheduler import PhaseScheduler

__all__ = ["Phase", "Phases", "PhaseScheduler", "phases"]
