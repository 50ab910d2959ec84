"""`fine_tune`: a whole fine-tuning in one call."""

from difflr.fine_tuning.fine_tune import fine_tune

__all__ = ["fine_tune"]
