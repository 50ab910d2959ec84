"""Recipes: functions that return plans, and how deep the layers of a model lie."""

from difflr.recipes.depth import DepthGroup, depth_groups

__all__ = ["DepthGroup", "depth_groups"]
