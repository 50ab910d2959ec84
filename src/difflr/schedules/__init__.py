"""Learning-rate schedules that Keras lacks; `difflr.plot_schedule` draws them.

The first argument is the highest rate. With 1 there, the schedule is a factor for the `schedule` of a rule.
"""

from difflr.plan.constant import Constant
from difflr.schedules.slanted_triangular import SlantedTriangular
from difflr.schedules.one_cycle import OneCycle
from difflr.schedules.warmup_cosine import WarmupCosine
from difflr.schedules.delayed import Delayed
from difflr.schedules.joined import Joined

__all__ = ["SlantedTriangular", "OneCycle", "WarmupCosine", "Delayed", "Joined", "Constant"]
