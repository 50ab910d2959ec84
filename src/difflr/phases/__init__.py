"""Phases: which variables train when, inside one `fit`; and functions that return common phases."""

from difflr.phases.phase import Phase
from difflr.phases.phases import Phases
from difflr.phases.phase_scheduler import PhaseScheduler
from difflr.phases.freeze_to import freeze_to, unfreeze
from difflr.phases.ready_made import all_at_once, chain_thaw, head_first, top_down

__all__ = [
    "Phase",
    "PhaseScheduler",
    "Phases",
    "all_at_once",
    "chain_thaw",
    "freeze_to",
    "head_first",
    "top_down",
    "unfreeze",
]
