"""Lists of parameter groups, as in `torch.optim` and Hugging Face's trainers."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from difflr.checks import did_you_mean
from difflr.interop.translation import Decision, Translation, torch_name, translate
from difflr.plan import Row

_FIELDS = ("params", "lr", "weight_decay", "name")


def from_param_groups(
    groups: Iterable[Mapping[str, Any]], model: keras.Layer, *, learning_rate: float, weight_decay: float = 0.0
) -> Translation:
    """Convert a list of parameter groups to a plan, such as Hugging Face's `optimizer_grouped_parameters`.

    Groups inherit unset values from the optimizer. The plan freezes variables in no group, which torch never trains.

    Args:
        groups: Dictionaries with `params`, a list of Keras variables or their names (PyTorch names or layer-tree paths),
            and `lr` and `weight_decay`, absolute numbers.
        model: A built Keras model.
        learning_rate: Float > 0, the optimizer's `lr`.
        weight_decay: Float, the optimizer's `weight_decay`.

    Returns:
        A `difflr.interop.Translation`.

    Raises:
        ValueError: If a group sets anything else, a variable is in two groups, or a decay differs while the base is 0.

    Example:

    ```python
    names = [row.path for row in difflr.Plan(model).rows]
    groups = [
        {"params": [name for name in names if not name.endswith("bias")], "weight_decay": 0.01},
        {"params": [name for name in names if name.endswith("bias")], "weight_decay": 0.0},
    ]
    translation = difflr.interop.from_param_groups(groups, model, learning_rate=5e-5, weight_decay=0.01)
    optimizer = difflr.optimizers.AdamW(5e-5, weight_decay=0.01, multipliers=translation.plan)
    ```

    Reference: `Optimizer.add_param_group` in `torch/optim/optimizer.py`; `create_optimizer` in Hugging Face's
    `trainer.py`.
    """
    owners: dict[Any, int] = {}
    axes, settings = [], []
    for number, group in enumerate(groups):
        unknown = sorted(set(group) - set(_FIELDS))
        if unknown:
            hint = did_you_mean(unknown[0], _FIELDS)
            raise ValueError(
                f"Group {number} sets {', '.join(unknown)}, which in Keras applies to all variables.{hint}"
            )
        decay = group.get("weight_decay", weight_decay)
        if decay and not weight_decay:
            raise ValueError(f"`weight_decay` is 0, so no multiplier gives {decay:g} (group {number}). Set the base.")
        axes.append({"multiplier": group.get("lr", learning_rate) / learning_rate})
        if weight_decay:
            axes[-1]["weight_decay_multiplier"] = decay / weight_decay
        for parameter in group["params"]:
            key = parameter if isinstance(parameter, str) else id(parameter)
            settings.append(f"{parameter if isinstance(parameter, str) else parameter.path} (group {number})")
            if key in owners:
                raise ValueError(f"{settings[-1]} is in group {owners[key]} already.")
            owners[key] = number

    def decide(row: Row) -> Decision:
        keys = [key for key in (id(row.variable), row.path, torch_name(row)) if key in owners]
        numbers = {owners[key] for key in keys}
        if len(numbers) > 1:
            raise ValueError(f"{row.path} is in several groups: {', '.join(map(str, sorted(numbers)))}.")
        if not keys:
            return {"frozen": True}, ["in no group: not trained"]
        names = [key if isinstance(key, str) else row.variable.path for key in keys]
        return axes[owners[keys[0]]], [f"{name} (group {owners[keys[0]]})" for name in names]

    return translate("parameter groups", model, decide, settings, name_of=torch_name)
