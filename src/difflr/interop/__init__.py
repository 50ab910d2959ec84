"""Convert settings of other libraries to plans, and plans to settings of other libraries. One file per library."""

from difflr.interop.translation import Translation
from difflr.interop.declare_multipliers import declare_multipliers
from difflr.interop.caffe import from_caffe
from difflr.interop.keras2 import load_keras2
from difflr.interop.lr_multiplier import from_lr_multiplier
from difflr.interop.keras_adamw import from_keras_adamw
from difflr.interop.multi_optimizer import from_multi_optimizer, to_multi_optimizer
from difflr.interop.tfa import from_tfa
from difflr.interop.timm import from_timm
from difflr.interop.mmengine import from_mmengine
from difflr.interop.big_vision import from_big_vision
from difflr.interop.detectron2 import from_detectron2
from difflr.interop.fastai import from_fastai
from difflr.interop.param_groups import from_param_groups
from difflr.interop.parameter import Parameter
from difflr.interop.torch_plan import torch_plan
from difflr.interop.pytree_plan import pytree_plan
from difflr.interop.torch_param_groups import torch_param_groups
from difflr.interop.optax_transform import optax_transform
from difflr.interop.plan_as_data import plan_from_dict, plan_from_yaml, plan_to_dict, plan_to_yaml

__all__ = [
    "Translation",
    "declare_multipliers",
    "from_caffe",
    "load_keras2",
    "from_lr_multiplier",
    "from_keras_adamw",
    "from_multi_optimizer",
    "to_multi_optimizer",
    "from_tfa",
    "from_timm",
    "from_mmengine",
    "from_big_vision",
    "from_detectron2",
    "from_fastai",
    "from_param_groups",
    "Parameter",
    "torch_plan",
    "pytree_plan",
    "torch_param_groups",
    "optax_transform",
    "plan_to_dict",
    "plan_from_dict",
    "plan_to_yaml",
    "plan_from_yaml",
]
