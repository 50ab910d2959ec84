"""`torch_param_groups`: a plan as parameter groups of `torch.optim`."""

from typing import Any

import keras

from difflr.interop.effective import check_plan, group_decay
from difflr.interop.parameter import is_of_parameters
from difflr.plan import Plan


def torch_param_groups(
    plan: Plan,
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    weight_decay_follows: str = "effective_rate",
) -> list[dict[str, Any]]:
    """The plan as parameter groups, for a training loop of your own with an optimizer of `torch.optim`.

    torch's schedulers multiply or replace the rate of each group from where it starts, so ratios stay with those that
    multiply (`LambdaLR`, `StepLR`, `CosineAnnealingLR` with `eta_min=0`). Frozen parameters are in no group.

    Args:
        plan: A plan for a Keras model on the torch backend, or one from `difflr.interop.torch_plan`.
        learning_rate: Float, the base rate.
        weight_decay: Float, the base weight decay. The groups of `torch.optim.AdamW` then are those of
            `difflr.optimizers.AdamW`; `torch.optim.SGD` and `Adam` put it into the gradient, which Keras does not.
        weight_decay_follows: As for the optimizers of difflr.

    Returns:
        For each group of the plan a dictionary: `params`, pairs of layer-tree path and parameter (torch 2.6 and newer keeps
        the paths as `param_names`), `lr` and `weight_decay`.

    Raises:
        ValueError: If Keras runs on another backend, the plan freezes everything, or it has schedules for groups.

    Example:

    ```python
    if keras.backend.backend() == "torch":
        import torch

        plan = difflr.Plan(model, {"backbone": 0.1})
        optimizer = torch.optim.AdamW(difflr.interop.torch_param_groups(plan, 1e-3, weight_decay=0.05))
        assert [group["lr"] for group in optimizer.param_groups] == [1e-4, 1e-3]
    ```

    Reference: "Per-parameter options" in the documentation of `torch.optim`.
    """
    check_plan(plan)
    if keras.backend.backend() != "torch" and not is_of_parameters(plan):
        raise ValueError(
            f"Parameter groups hold torch parameters, and Keras runs on {keras.backend.backend()}. Set "
            "KERAS_BACKEND=torch; on JAX there is `difflr.interop.optax_transform`."
        )
    for group in plan.groups:
        if group.schedule is not None:
            raise ValueError(
                f"The group of {group.rows[0].path} has a schedule of its own, and a parameter group of torch holds "
                "numbers only. Leave it out of the plan, and give it to torch.optim.lr_scheduler.LambdaLR."
            )
    return [
        {
            "params": [(row.path, row.variable.value) for row in group.rows],
            "lr": learning_rate * group.multiplier,
            "weight_decay": group_decay(group, weight_decay, weight_decay_follows),
        }
        for group in plan.groups
    ]
