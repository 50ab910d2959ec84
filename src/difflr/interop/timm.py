"""timm: layer-wise decay with a minimum and a cut-off, and no weight decay for vectors."""

from collections.abc import Callable, Collection
from fnmatch import fnmatch
from typing import Any

import keras

from difflr.checks import wrong_type
from difflr.interop.translation import Decision, Translation, torch_name, translate
from difflr.plan import Plan, Row
from difflr.recipes import layerwise_decay
from difflr.signatures import check_keywords


def from_timm(
    model: keras.Layer,
    *,
    layer_decay: float | None = None,
    layer_decay_min_scale: float | None = 0.0,
    layer_decay_no_opt_scale: float | None = None,
    no_weight_decay: Collection[str] = (),
    weight_decay_exclude_1d: bool = True,
    **layers: Any,
) -> Translation:
    """Convert the arguments of timm's `create_optimizer_v2(model, ..., layer_decay=...)` to a plan.

    Args:
        model: A built Keras model.
        layer_decay: Float in (0, 1]. The factor from each block to the block below it; `None`: no decay. Blocks are those of
            `difflr.depth.depth_groups`; [the recipes page](recipes.md) says where they equal timm's.
        layer_decay_min_scale: Float. The smallest multiplier.
        layer_decay_no_opt_scale: Float. Blocks with a smaller multiplier are frozen.
        no_weight_decay: Names or `fnmatch` patterns of variables: PyTorch names (`blocks.0.norm.weight`) or layer-tree
            paths. What timm's `model.no_weight_decay()` returns.
        weight_decay_exclude_1d: Whether to turn off weight decay for biases and other vectors.
        **layers: `depth` and `head`, as for `difflr.layerwise_decay`.

    Returns:
        A `difflr.interop.Translation`. Unlike timm's `lr_scale`, which only timm's own schedulers apply, the multipliers of
        its plan are applied by every optimizer of difflr.

    Raises:
        ValueError: If a value is out of range, or no pattern matches.

    Example:

    ```python
    translation = difflr.interop.from_timm(model, layer_decay=0.75, no_weight_decay=["*stem*"])
    optimizer = difflr.optimizers.AdamW(1e-3, weight_decay=0.05, multipliers=translation.plan)
    ```

    Reference: `param_groups_layer_decay` and `param_groups_weight_decay` in `timm/optim/_param_groups.py`.
    """
    check_keywords("from_timm", layers, from_timm, layerwise_decay)
    if isinstance(no_weight_decay, str):
        raise wrong_type("`no_weight_decay`", f"a collection of names, such as [{no_weight_decay!r}]", no_weight_decay)
    rates = rates_by_depth(
        model,
        1.0 if layer_decay is None else layer_decay,
        minimum_multiplier=layer_decay_min_scale or 0.0,
        freeze_below=layer_decay_no_opt_scale or 0.0,
        **layers,
    )

    by_depth = [] if layer_decay is None else ["layer_decay"]

    def decide(row: Row) -> Decision:
        names = (torch_name(row), row.path)
        matching = [pattern for pattern in no_weight_decay if any(fnmatch(name, pattern) for name in names)]
        decays = not matching and not (weight_decay_exclude_1d and is_vector(row))
        return {**rates(row), "weight_decay_multiplier": float(decays)}, [*by_depth, *matching]

    return translate("timm", model, decide, [*by_depth, *no_weight_decay], name_of=torch_name)


def rates_by_depth(model: keras.Layer, decay_rate: float, **arguments: Any) -> Callable[[Row], dict[str, Any]]:
    """What layer-wise decay sets for a row of another plan of the model. 1: no decay, so no depth is needed."""
    if decay_rate == 1:
        return lambda row: {"multiplier": 1.0}
    plan: Plan = layerwise_decay(model, decay_rate, **arguments)

    def axes(row: Row) -> dict[str, Any]:
        by_depth = plan.row(row.variable)
        return {"frozen": True} if by_depth.frozen else {"multiplier": by_depth.multiplier}

    return axes


def is_vector(row: Row) -> bool:
    """Whether the variable is a vector in PyTorch; in Keras, attention biases have two dimensions."""
    return len(row.shape) <= 1 or row.path.split("/")[-1].endswith("bias")
