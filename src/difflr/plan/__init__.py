"""Rules resolved against one real model."""

from difflr.plan.plan import Plan
from difflr.plan.rows import Group, Row
from difflr.plan.rule import FROZEN, LIVE, Rule
from difflr.plan.variable_mapping import VariableMapping

__all__ = ["FROZEN", "LIVE", "Group", "Plan", "Row", "Rule", "VariableMapping"]
