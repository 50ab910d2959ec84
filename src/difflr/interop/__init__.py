"""Settings of other systems as plans, and plans as settings of other systems: one file a peer."""

from difflr.interop.translation import Translation
from difflr.interop.declare_multipliers import declare_multipliers
from difflr.interop.caffe import CaffeSchedule, from_caffe
from difflr.interop.keras2 import load_keras2
from difflr.interop.lr_multiplier import from_lr_multiplier
from difflr.interop.keras_adamw import from_keras_adamw

__all__ = [
    "Translation",
    "declare_multipliers",
    "from_caffe",
    "CaffeSchedule",
    "load_keras2",
    "from_lr_multiplier",
    "from_keras_adamw",
]
