"""Recipes: functions that return plans, and how deep the layers of a model lie."""

from difflr.recipes.depth import DepthGroup, depth_groups
from difflr.recipes.discriminative import discriminative
from difflr.recipes.habits import bias_double, no_decay
from difflr.recipes.layerwise_decay import layerwise_decay
from difflr.recipes.lora_plus import lora_plus
from difflr.recipes.mup import mup
from difflr.recipes.parts import head_and_backbone, surgical

__all__ = [
    "DepthGroup",
    "bias_double",
    "depth_groups",
    "discriminative",
    "head_and_backbone",
    "layerwise_decay",
    "lora_plus",
    "mup",
    "no_decay",
    "surgical",
]
