"""detectron2: `get_default_optimizer_params`."""

from collections.abc import Callable, Mapping

import keras

from difflr.checks import check_fields, checked_number, checked_rate
from difflr.interop.translation import NORMS, Decision, Translation, torch_name, translate
from difflr.plan import Row


def from_detectron2(
    model: keras.Layer,
    *,
    base_lr: float,
    weight_decay: float = 0.0,
    weight_decay_norm: float | None = None,
    bias_lr_factor: float = 1.0,
    weight_decay_bias: float | None = None,
    lr_factor_func: Callable[[str], float] | None = None,
    overrides: Mapping[str, Mapping[str, float]] | None = None,
) -> Translation:
    """Convert the arguments of detectron2's `get_default_optimizer_params` to a plan.

    The rate of a variable is `base_lr * lr_factor_func(name)`; an override for the last part of its name replaces both
    rate and decay. The two settings for biases are an override for `bias`, so they replace the factor too.

    Args:
        model: A built Keras model.
        base_lr: Float > 0.
        weight_decay: Float, the base weight decay.
        weight_decay_norm: Float, the weight decay of normalization layers.
        bias_lr_factor: Float, the multiplier of biases.
        weight_decay_bias: Float, the weight decay of biases.
        lr_factor_func: Function of the name in PyTorch, `backbone.blocks.0.norm.weight`.
        overrides: Last part of a name (`pos_embed`) -> `{"lr": ..., "weight_decay": ...}`, absolute numbers.

    Returns:
        A `difflr.interop.Translation`.

    Raises:
        ValueError: If a number is out of range, a decay differs while the base is 0, an override sets anything else, there
            are two for `bias`, or nothing matches, such as an `lr_factor_func` that is 1 for every variable.

    Example:

    ```python
    translation = difflr.interop.from_detectron2(
        model,
        base_lr=1e-4,
        weight_decay=0.1,
        bias_lr_factor=2.0,
        lr_factor_func=lambda name: 0.7 if name.startswith("backbone") else 1.0,
    )
    optimizer = difflr.optimizers.AdamW(1e-4, weight_decay=0.1, multipliers=translation.plan)
    ```

    Reference: `get_default_optimizer_params` in `detectron2/solver/build.py`.
    """
    checked_rate(base_lr, "base_lr")
    own: dict[str, Mapping[str, float]] = dict(overrides or {})
    bias = {"lr": base_lr * bias_lr_factor} if bias_lr_factor != 1 else {}
    bias |= {} if weight_decay_bias is None else {"weight_decay": weight_decay_bias}
    if bias and "bias" in own:
        raise ValueError("`overrides['bias']` conflicts with `bias_lr_factor` or `weight_decay_bias`. Leave one out.")
    own |= {"bias": bias} if bias else {}
    for name, values in own.items():
        check_fields(values, ("lr", "weight_decay"), f"The override for '{name}'")
        for field, value in values.items():
            checked_number(value, f"overrides['{name}']['{field}']")
    of_norm = weight_decay if weight_decay_norm is None else weight_decay_norm
    decays = [of_norm, *(values.get("weight_decay", 0.0) for values in own.values())]
    if not weight_decay and any(decays):
        raise ValueError(f"`weight_decay` is 0, so no multiplier gives {max(decays):g}. Set the base weight decay.")

    def decide(row: Row) -> Decision:
        name = torch_name(row)
        factor = checked_number(lr_factor_func(name), f"lr_factor_func('{name}')") if lr_factor_func else 1.0
        numbers = {"lr": base_lr * factor, "weight_decay": weight_decay}
        norm = weight_decay_norm is not None and isinstance(row.layer, NORMS)
        if norm:
            numbers["weight_decay"] = of_norm
        last = name.split(".")[-1]
        numbers |= own.get(last, {})
        axes = {"multiplier": numbers["lr"] / base_lr}
        if weight_decay:
            axes["weight_decay_multiplier"] = numbers["weight_decay"] / weight_decay
        settings = {"lr_factor_func": factor != 1, "weight_decay_norm": norm, f"override {last}": last in own}
        return axes, [setting for setting, applies in settings.items() if applies]

    settings = [
        *(["lr_factor_func"] if lr_factor_func else []),
        *(["weight_decay_norm"] if weight_decay_norm is not None else []),
        *(f"override {name}" for name in own),
    ]
    return translate("detectron2", model, decide, settings, name_of=torch_name)
