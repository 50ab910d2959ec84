"""Training in phases, and what is logged of it."""

from difflr.training import phases
from difflr.training.phase import Phase, Phases
from difflr.training.phase_scheduler import PhaseScheduler
from difflr.training.group_logger import GroupLogger
from difflr.training.backup_and_restore import BackupAndRestore
from difflr.training.terminate_on_nan import TerminateOnNaN
from difflr.training.fine_tune import fine_tune
from difflr.training.freeze_to import freeze_to, unfreeze

__all__ = [
    "BackupAndRestore",
    "GroupLogger",
    "Phase",
    "Phases",
    "PhaseScheduler",
    "TerminateOnNaN",
    "fine_tune",
    "freeze_to",
    "phases",
    "unfreeze",
]
