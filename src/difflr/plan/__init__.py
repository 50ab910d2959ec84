"""Rules resolved against one real model."""

from difflr.plan.plan import Plan
from difflr.plan.rows import Group, Row
from difflr.plan.rule import FROZEN, TRAINABLE, Rule, everything_but
from difflr.plan.variable_mapping import VariableMapping

__all__ = ["FROZEN", "TRAINABLE", "Group", "Plan", "Row", "Rule", "VariableMapping", "everything_but"]
