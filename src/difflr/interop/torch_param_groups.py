"""`torch_param_groups`: a plan as `torch.optim` parameter groups."""

from typing import Any

import keras

from difflr.interop.effective import check_axes, check_plan, group_decay
from difflr.interop.parameter import is_of_parameters
from difflr.plan import Group, Plan


def torch_param_groups(
    plan: Plan,
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    weight_decay_follows: str = "effective_rate",
) -> list[dict[str, Any]]:
    """Convert a plan to parameter groups, for a custom training loop with a `torch.optim` optimizer.

    Schedulers of torch multiply or replace the rate of each group. The ratios hold with schedulers that multiply
    (`LambdaLR`, `StepLR`, `CosineAnnealingLR` with `eta_min=0`). Frozen parameters are in no group.

    Args:
        plan: A plan for a Keras model on the torch backend, or one from `difflr.interop.torch_plan`.
        learning_rate: Float, the base rate.
        weight_decay: Float, the base weight decay. `torch.optim.AdamW` then decays like
            `difflr.optimizers.AdamW`; `torch.optim.SGD` and `Adam` add it to the gradient, which Keras does not.
        weight_decay_follows: As for the optimizers of difflr.

    Returns:
        A dictionary per group: `params`, pairs of layer-tree path and parameter (torch 2.6 and newer keeps the paths as
        `param_names`), `lr`, `weight_decay`, and `momentum`, `eps` and `betas` where the plan sets them.

    Raises:
        ValueError: If Keras runs on another backend, the plan freezes everything, or it has schedules,
            norms or lowest rates, which parameter groups cannot hold.

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
            f"Parameter groups hold torch parameters, but the Keras backend is {keras.backend.backend()}. Set "
            "KERAS_BACKEND=torch; on JAX use `difflr.interop.optax_transform`."
        )
    check_axes(
        plan,
        (*_NAMES, *_BETAS, "weight_decay"),
        "a torch parameter group holds only numbers that torch's optimizers use",
        "Leave it out of the plan; your loop can use torch.optim.lr_scheduler.LambdaLR and torch.nn.utils.clip_grad_norm_.",
    )
    return [
        {
            "params": [(row.path, row.variable.value) for row in group.rows],
            "lr": learning_rate * group.multiplier,
            "weight_decay": group_decay(group, weight_decay, weight_decay_follows),
            **_hyperparameters(group),
        }
        for group in plan.groups
    ]


_NAMES = {"momentum": "momentum", "epsilon": "eps"}
_BETAS = ("beta_1", "beta_2")


def _hyperparameters(group: Group) -> dict[str, Any]:
    """The hyperparameters that the group overrides, by torch's names."""
    own = group.hyperparameters
    found: dict[str, Any] = {name: own[ours] for ours, name in _NAMES.items() if ours in own}
    missing = [name for name in _BETAS if name not in own]
    if len(missing) == 1:
        raise ValueError(
            f"The group of {group.rows[0].path} sets only one beta, but torch keeps both in one tuple. Set "
            f"'{missing[0]}' in the plan, too."
        )
    return found if missing else {**found, "betas": tuple(own[name] for name in _BETAS)}
