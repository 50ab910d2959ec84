"""Callbacks: logs for each group, backups, plateaus of one group, the stop at NaN."""

from difflr.callbacks.group_logger import GroupLogger
from difflr.callbacks.backup_and_restore import BackupAndRestore
from difflr.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau
from difflr.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = ["BackupAndRestore", "GroupLogger", "ReduceLROnPlateau", "TerminateOnNaN"]
