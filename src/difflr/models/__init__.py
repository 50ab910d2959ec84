"""Models that report their multipliers, and functions that give a model a new head, scaling or augmentation."""

from difflr.models.model import Model, Sequential
from difflr.models.model_info import ModelInfo, read_info, write_info
from difflr.models.new_head import after_vectorization, new_head
from difflr.models.with_scale import with_scale
from difflr.models.augmented import augmentation_sheet, augmented

__all__ = [
    "Model",
    "ModelInfo",
    "Sequential",
    "after_vectorization",
    "augmentation_sheet",
    "augmented",
    "new_head",
    "read_info",
    "with_scale",
    "write_info",
]
