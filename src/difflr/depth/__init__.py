"""How deep the layers of a model lie, read off its data flow."""

from difflr.depth.depth_groups import DepthGroup, depth_groups

__all__ = ["DepthGroup", "depth_groups"]
