"""Models that know their multipliers, and models cut anew."""

from difflr.models.model import Model, Sequential
from difflr.models.model_info import ModelInfo, read_info, write_info
from difflr.models.new_head import after_vectorization, new_head
from difflr.models.with_scale import with_scale

__all__ = [
    "Model",
    "ModelInfo",
    "Sequential",
    "after_vectorization",
    "new_head",
    "read_info",
    "with_scale",
    "write_info",
]
