"""`layerwise_decay`: lower layers train slower."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from difflr.checks import checked_multiplier
from difflr.depth.depth_groups import DepthGroup, depth_groups
from difflr.depth.named_head import HEAD, Target
from difflr.plan import Plan, Row
from difflr.plan.kinds import is_kind
from difflr.plan.layer_tree import Leaf
from difflr.recipes.plan_from_decisions import plan_from_decisions

MANY_KERNELS = 12  # in one group: more than any block has


def layerwise_decay(
    model: keras.Layer,
    decay_rate: float,
    *,
    minimum_multiplier: float = 0.0,
    freeze_below: float = 0.0,
    depth: Callable[[str], int | None] | None = None,
    head: Target = HEAD,
    within: Target = None,
) -> Plan:
    """Train each block at `decay_rate` times the rate of the block above it.

    The head gets 1, the block below it `decay_rate`, the next `decay_rate ** 2`, down to the embeddings. Blocks
    are found in the model's data flow; `difflr.depth.depth_groups` shows them. Several towers each count their own
    blocks, from where they merge.

    Args:
        model: A built model with pretrained weights.
        decay_rate: Float in (0, 1]. Typically 0.65 to 0.9; closer to 1 for larger models and data.
        minimum_multiplier: Float in [0, 1]. The smallest multiplier.
        freeze_below: Float in [0, 1]. Blocks with a smaller multiplier are frozen.
        depth: A function that replaces the graph: layer-tree path of a variable -> depth, an integer that grows
            towards the output, or `None` for the head.
        head: The target (layer, path, kind, ...; as in `difflr.Rule`) of the head, or a list of targets. Layers that take
            all their inputs from it belong to it. `None`: no head; the top of the backbone gets 1.
        within: A target or a list of targets, such as `"encoder"`: decay only in this part of the model, from 1 at its top.
            To set rates elsewhere, multiply the plan by other plans.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If `decay_rate` is out of range, the model is not built or has no head, or its head cannot be found in
            the data flow.

    Warns:
        UserWarning: If no depth was found, or the model looks freshly initialized, so that slow lower layers would
            prevent learning.

    Example:

    ```python
    plan = difflr.layerwise_decay(model, 0.75)
    plan = difflr.layerwise_decay(model, 0.9, within="backbone") * difflr.Plan(model, {"head": 2.0})
    model.compile(difflr.optimizers.AdamW(1e-3, weight_decay=0.05, multipliers=plan), loss="mse")
    ```

    Reference: Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators" (ICLR 2020);
    Bao et al., "BEiT: BERT Pre-Training of Image Transformers" (ICLR 2022); minimum and cut-off are timm's
    `min_scale` and `no_opt_scale` (`param_groups_layer_decay` in `timm/optim/_param_groups.py`).
    """
    decay_rate = checked_multiplier(decay_rate, "decay_rate")
    if not 0 < decay_rate <= 1:
        raise ValueError(
            "`decay_rate` must be above 0 and at most 1: the factor from each block to the block below it, such as 0.75. "
            f"Received: {decay_rate:g}."
        )
    for name, value in (("minimum_multiplier", minimum_multiplier), ("freeze_below", freeze_below)):
        if checked_multiplier(value, name) > 1:
            raise ValueError(f"`{name}` must be in [0, 1], as the head has multiplier 1. Received: {value!r}.")
    groups = depth_groups(model, head=head, depth=depth, within=within)
    _warn_if_degenerate(model, groups)  # also with `depth`: VideoMamba's put every layer at the top (#109)
    _warn_if_fresh(model, groups)
    axes: dict[int, tuple[dict[str, Any], str]] = {}
    frozen_layers: set[int] = set()
    for group in groups:
        multiplier = max(minimum_multiplier, decay_rate**group.height)
        frozen = multiplier < freeze_below
        who = f"layerwise_decay: height {group.height}"
        if frozen:
            frozen_layers.update(map(id, group.statistics))
        for variable in group.variables:
            axes[id(variable)] = ({"frozen": True} if frozen else {"multiplier": multiplier}, who)
    return plan_from_decisions(model, lambda row: axes.get(id(row.variable)), lambda layer: id(layer) in frozen_layers)


def _warn_if_degenerate(model: keras.Layer, groups: Sequence[DepthGroup]) -> None:
    name = f"{type(model).__name__} '{model.name}'"
    fix = "`difflr.depth.depth_groups(model)` shows the groups; pass `depth=`, a function path -> depth."
    if len(groups) == 1:
        warnings.warn(
            f"Layer-wise decay has no effect: all variables of {name} are in one depth group. {fix}", stacklevel=3
        )
    total = sum(group.num_parameters for group in groups)
    for group in groups:
        kernels = sum(len(variable.shape) > 1 for variable in group.variables)
        if len(groups) > 1 and kernels > MANY_KERNELS and group.num_parameters > total / 2:
            warnings.warn(
                f"Most of {name} ({group.num_parameters:,} of {total:,} parameters, {kernels} kernels) is in one depth "
                f"group, '{group.name}', so its layers all train at the same rate. {fix}",
                stacklevel=3,
            )


def _warn_if_fresh(model: keras.Layer, groups: Sequence[DepthGroup]) -> None:
    number = looks_fresh(model, groups)
    if number:
        warnings.warn(
            f"{type(model).__name__} '{model.name}' looks freshly initialized: all {number} biases and norm weights "
            "below the head are exactly 0 or 1. Layer-wise decay is for pretrained weights; otherwise the lower layers "
            "hardly learn. Load the weights first.",
            stacklevel=3,
        )


def looks_fresh(model: keras.Layer, groups: Sequence[DepthGroup] | None = None) -> int:
    """The number of backbone biases and norm weights if all still have their initial values, 0 or 1; otherwise 0.

    Args:
        model: A built model.
        groups: Its depth groups, if known.
    """
    groups = depth_groups(model) if groups is None else groups
    body = {id(variable) for group in groups if group.height for variable in group.variables}
    checked = [row for row in Plan(model).rows if id(row.variable) in body and _is_bias_or_norm(row)]
    return len(checked) if all(_is_zeros_and_ones(row.variable) for row in checked) else 0


def _is_bias_or_norm(row: Row) -> bool:
    leaf = Leaf(row.variable, row.layer, [row.path], row.path)
    return is_kind(leaf, "bias") or is_kind(leaf, "norm")


def _is_zeros_and_ones(variable: keras.Variable) -> bool:
    values = keras.ops.convert_to_numpy(variable.value)
    return bool(np.all((values == 0) | (values == 1)))
