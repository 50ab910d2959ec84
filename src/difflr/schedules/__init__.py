"""Learning-rate schedules that Keras lacks; `difflr.plot_schedule` draws them.

As the `schedule` of a rule, a schedule is a factor: let it peak at 1.
"""

from difflr.plan.schedule import Constant
from difflr.schedules.slanted_triangular import SlantedTriangular
from difflr.schedules.one_cycle import OneCycle
from difflr.schedules.warmup_cosine import WarmupCosine
from difflr.schedules.joined import Delayed, Joined
from difflr.schedules.caffe_schedule import CaffeSchedule

__all__ = ["SlantedTriangular", "OneCycle", "WarmupCosine", "Delayed", "Joined", "CaffeSchedule", "Constant"]
