"""Settings of other systems as plans, and plans as settings of other systems: one file a peer."""

from difflr.interop.translation import Translation
from difflr.interop.caffe import CaffeSchedule, from_caffe

__all__ = ["Translation", "from_caffe", "CaffeSchedule"]
