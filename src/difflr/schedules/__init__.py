"""Rates over time that Keras lacks, as ordinary Keras schedules; `difflr.plot_schedule` draws them.

Each takes its highest rate first. With 1 there it is a factor, fit for the `schedule` of a rule.
"""

from difflr.plan.constant import Constant
from difflr.schedules.slanted_triangular import SlantedTriangular
from difflr.schedules.one_cycle import OneCycle
from difflr.schedules.warmup_cosine import WarmupCosine
from difflr.schedules.delayed import Delayed
from difflr.schedules.joined import Joined

__all__ = ["SlantedTriangular", "OneCycle", "WarmupCosine", "Delayed", "Joined", "Constant"]
