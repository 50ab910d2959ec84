"""Layer depth, read from the data flow of a model."""

from difflr.depth.depth_groups import DepthGroup, depth_groups

__all__ = ["DepthGroup", "depth_groups"]
