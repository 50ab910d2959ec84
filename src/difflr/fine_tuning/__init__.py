"""`fine_tune`: a whole fine-tuning in one call."""

from difflr.fine_tuning.fine_tune import fine_tune
from difflr.fine_tuning.fine_tune_settings import FineTuneSettings, fine_tune_settings

__all__ = ["fine_tune", "FineTuneSettings", "fine_tune_settings"]
