"""Plans for one part of the model against the rest: `head_and_backbone`, `surgical`."""

from typing import Any

import keras

from difflr.checks import checked_multiplier
from difflr.depth.depth_groups import HEAD, DepthGroup, depth_groups
from difflr.plan import Plan, layer_tree
from difflr.plan.targets import Targets
from difflr.recipes.plan_from_decisions import close_matches, factor_or_frozen, plan_of


def head_and_backbone(model: keras.Layer, backbone: float = 0.1, *, head: Any = HEAD) -> Plan:
    """A plan in which the head trains at the base rate and everything below it slower, or not at all.

    Args:
        model: A built model with a head: the last layer with weights before each output.
        backbone: Float >= 0, the multiplier of everything but the head. 0 freezes it.
        head: The target (layer, path, kind, ...) that is the head, with whatever comes after it.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the model is not built, or has no head of its own.

    Example:

    ```python
    plan = difflr.head_and_backbone(model, 0.1)
    head_only = difflr.head_and_backbone(model, 0)
    ```

    Reference: Caffe's example "Fine-tuning CaffeNet for Style Recognition on Flickr Style Data", where the new layer has a
    larger `lr_mult` than the rest; with 0, the linear probing of Kumar et al., "Fine-Tuning can Distort Pretrained
    Features and Underperform Out-of-Distribution" (ICLR 2022).
    """
    multiplier = checked_multiplier(backbone, "backbone")
    *body, top = depth_groups(model, head=head)
    if top.name != "head" or not body:
        raise ValueError(
            f"{type(model).__name__} '{model.name}' has no head that could train apart from its body"
            f"{': the weights of its last layer are used below as well' if body else ': it has one group of layers'}. "
            "Say which layer is the head, as in `head=model.get_layer(...)`."
        )
    in_head = set(map(id, top.variables))
    axes = factor_or_frozen(multiplier)
    return plan_of(
        model,
        lambda row: ({"multiplier": 1.0}, "head") if id(row.variable) in in_head else (axes, "backbone"),
        [] if multiplier else [layer for group in body for layer in group.statistics],
    )


def surgical(model: keras.Layer, block: Any, *, with_head: bool = False) -> Plan:
    """A plan in which one block trains and everything else is frozen.

    Where the new data differ from the old in their looks (noise, blur, another camera), training the first block
    alone can beat training them all; where they differ in what the classes mean, the last.

    Args:
        model: A built model.
        block: The name of a group of `difflr.depth.depth_groups(model)`; its position, 0 the lowest and -1 the last;
            or any target (layer, path pattern, ...; as in `difflr.Rule`).
        with_head: Whether the head trains too, as it must where it is new.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If there is no such block, or the model is not built or has no head.

    Example:

    ```python
    plan = difflr.surgical(model, 0)
    plan = difflr.surgical(model, "backbone/stem", with_head=True)
    ```

    Reference: Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts" (ICLR 2023).
    """
    groups = depth_groups(model) if with_head or isinstance(block, (int, str)) else []
    trainable = _block(model, block, groups)
    if with_head:
        trainable |= set(map(id, groups[-1].variables))
    still = [layer for group in groups if not trainable & set(map(id, group.variables)) for layer in group.statistics]
    return plan_of(
        model,
        lambda row: (
            ({"multiplier": 1.0}, "surgical") if id(row.variable) in trainable else ({"frozen": True}, "surgical")
        ),
        still,
    )


def _block(model: keras.Layer, block: Any, groups: list[DepthGroup]) -> set[int]:
    names = [group.name for group in groups]
    if isinstance(block, int) and not isinstance(block, bool):
        if not -len(groups) <= block < len(groups):
            raise ValueError(
                f"`block` must be in {-len(groups)} ... {len(groups) - 1}: the model has {len(groups)} groups, "
                f"{', '.join(names[:3])}, ... {names[-1]}. Received: {block}."
            )
        return set(map(id, groups[block].variables))
    if block in names if isinstance(block, str) else False:
        return set(map(id, groups[names.index(block)].variables))
    leaves = layer_tree.walk(model)
    try:
        return {id(leaves[position].variable) for position, _ in Targets(leaves, model).match(block)}
    except ValueError as error:
        hint = close_matches(block, names) if isinstance(block, str) else ""
        listed = f" Groups: {', '.join(names)}." if names else ""
        raise ValueError(f"There is no block {block!r}.{hint}{listed} {error}") from None
