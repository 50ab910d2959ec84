"""Recipes: functions that return a plan for a model."""

from difflr.recipes.discriminative import discriminative
from difflr.recipes.biases_and_norms import bias_double, no_decay
from difflr.recipes.layerwise_decay import layerwise_decay
from difflr.recipes.lora_plus import lora_plus
from difflr.recipes.mup import mup
from difflr.recipes.head_and_backbone import head_and_backbone
from difflr.recipes.surgical import surgical

__all__ = [
    "bias_double",
    "discriminative",
    "head_and_backbone",
    "layerwise_decay",
    "lora_plus",
    "mup",
    "no_decay",
    "surgical",
]
