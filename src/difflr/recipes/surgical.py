"""`surgical`: train one block, or a few, and freeze everything else."""

import re

import keras

from difflr.checks import did_you_mean
from difflr.depth.depth_groups import DepthGroup, depth_groups
from difflr.depth.named_head import HEAD, Target, named_head
from difflr.plan import Plan
from difflr.plan.targets import Targets
from difflr.recipes.plan_from_decisions import plan_from_decisions
from difflr.text_table import counted


def surgical(
    model: keras.Layer,
    block: int | slice | Target,
    *,
    with_head: bool = False,
    head: Target = HEAD,
    within: Target = None,
) -> Plan:
    """Train one block, or a few, and freeze everything else.

    If the new data look different (noise, blur, another camera), training only the first block can beat training all
    of them. If the meaning of the classes changed, train the last block.

    Args:
        model: A built model.
        block: The name of a group of `difflr.depth.depth_groups(model)`; its index, 0 for the lowest and -1 for the
            last; a slice, `slice(-3, None)` or `"-3:"` for the last three including the head; or any target (layer, path
            pattern, ...; as in `difflr.Rule`).
        with_head: Whether to train the head too. Use it if the head is new.
        head: The target of the head, or a list of targets, as in `difflr.head_and_backbone`.
        within: A target or a list of targets, such as `"encoder"`: count blocks in this part of the model and freeze only
            its other blocks. The rest of the model does not change.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If the block does not exist, or the model is not built or has no head.

    Example:

    ```python
    plan = difflr.surgical(model, 0)
    plan = difflr.surgical(model, "backbone/stem", with_head=True)
    plan = difflr.surgical(model, slice(-2, None))  # the last two groups
    ```

    Reference: Lee et al., "Surgical Fine-Tuning Improves Adaptation to Distribution Shifts" (ICLR 2023); the last groups of
    a tower: `--lock-image-unlocked-groups` of open_clip (`src/open_clip/transformer.py`).
    """
    block = _as_slice(block)
    by_group = isinstance(block, (int, str, slice))
    groups = depth_groups(model, head=head, within=within) if by_group else []
    trainable = _block(model, block, groups)
    if with_head:
        trainable |= named_head(model, head)
    part = None if within is None else Targets(model).ids(within)

    def is_left_alone(thing: object) -> bool:
        return part is not None and id(thing) not in part | trainable

    return plan_from_decisions(
        model,
        lambda row: (
            None
            if is_left_alone(row.variable)
            else ({"multiplier": 1.0} if id(row.variable) in trainable else {"frozen": True}, "surgical")
        ),
        lambda layer: not is_left_alone(layer) and id(layer) not in trainable,
    )


def _as_slice(block: int | slice | Target) -> int | slice | Target:
    """`"-3:"` as a slice, so that a shell can pass one."""
    if not isinstance(block, str) or not re.fullmatch(r"(-?\d+)?:(-?\d+)?", block):
        return block
    return slice(*(int(end) if end else None for end in block.split(":")))


def _block(model: keras.Layer, block: int | slice | Target, groups: list[DepthGroup]) -> set[int]:
    """The ids of the variables of a block, and of its layers that have only moving statistics."""
    names = [group.name for group in groups]
    if isinstance(block, int) and not isinstance(block, bool):
        if not -len(groups) <= block < len(groups):
            raise ValueError(
                f"`block` must be in {-len(groups)} ... {len(groups) - 1}: the model has {counted(len(groups), 'group')}, "
                f"{', '.join(names[:3])}, ... {names[-1]}. Received: {block}."
            )
        return groups[block].ids
    if isinstance(block, slice):
        chosen = groups[block]
        if not chosen or len(chosen) == len(groups):
            raise ValueError(
                f"`block` must select some but not all of the {len(groups)} groups, {', '.join(names[:3])}, "
                f"... {names[-1]}. Received: {block}, which selects {'all' if chosen else 'none'}."
            )
        return set().union(*(group.ids for group in chosen))
    if isinstance(block, str) and block in names:
        return groups[names.index(block)].ids
    try:
        return Targets(model).ids(block)
    except ValueError as error:
        hint = did_you_mean(block, names) if isinstance(block, str) else ""
        listed = f" Groups: {', '.join(names)}." if names else ""
        raise ValueError(f"No block matches {block!r}.{hint}{listed} {error}") from None
