"""`torch_plan`: rules for a plain `torch.nn.Module`."""

import re
from typing import Any

from difflr.checks import wrong_type
from difflr.interop.parameter import Parameter, leaf_of
from difflr.plan import Plan
from difflr.plan.layer_tree import Leaf


def torch_plan(module: Any, rules: Any = None) -> Plan:
    """Create a plan for a `torch.nn.Module` that is not a Keras model, on any Keras backend.

    Rules work as in `difflr.Plan`. Paths are PyTorch names with `/` for `.`: `backbone/0/weight`. Modules and parameters
    are targets too. All kinds of `difflr.Rule` except the head work; a norm's bias has the kind norm, not bias.

    Args:
        module: The module. Parameters with `requires_grad=False` stay frozen.
        rules: As for `difflr.Plan`.

    Returns:
        A `difflr.Plan`, for `difflr.interop.torch_param_groups`. Frozen parameters are in no group; `requires_grad` does
        not change.

    Raises:
        TypeError: If it is not a module.
        ValueError: As for `difflr.Plan`.

    Example:

    ```python
    try:
        import torch
    except ImportError:
        torch = None

    if torch is not None:
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2))
        plan = difflr.interop.torch_plan(net, {"0": 0.1, "kind:no_decay": {"weight_decay_multiplier": 0}})
        print(plan)
        optimizer = torch.optim.AdamW(difflr.interop.torch_param_groups(plan, 1e-3, weight_decay=0.05))
    ```
    """
    if not hasattr(module, "named_parameters"):
        raise wrong_type("`module`", "a torch.nn.Module", module)
    modules = dict(module.named_modules(remove_duplicate=False))
    leaves: dict[int, Leaf] = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        path = name.replace(".", "/")
        owner, _, own_name = name.rpartition(".")
        above = [""] + [owner[:end] for end in range(1, len(owner) + 1) if owner[end : end + 1] in ("", ".")]
        if id(value) not in leaves:
            parameter = Parameter(path, value, value.requires_grad)
            leaves[id(value)] = leaf_of(parameter, _kinds(modules[owner], own_name, value), [])
        leaf = leaves[id(value)]
        leaf.paths.append(path)
        leaf.ancestors |= {id(value), *(id(modules[part]) for part in above)}
    return Plan(list(leaves.values()), rules)


def _kinds(owner: Any, name: str, value: Any) -> set[str]:
    """Found by the class of the owning module and the name in it."""
    classes = [cls.__name__ for cls in type(owner).__mro__]
    vectors = all(sum(size > 1 for size in other.shape) <= 1 for other in owner.parameters(recurse=False))
    if vectors and any(re.search(r"Norm(ali[sz]ation)?(?![a-z])", cls) for cls in classes):
        return {"norm"}
    if {"Embedding", "EmbeddingBag"} & set(classes):
        return {"embedding"}
    if "bias" in name:
        return {"bias"}
    return {"kernel"} if "weight" in name and value.ndim > 1 else set()
