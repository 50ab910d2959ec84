"""`discriminative`: learning rates that grow geometrically from bottom to top."""

from collections.abc import Sequence

import keras

from difflr.checks import checked_multiplier
from difflr.depth.depth_groups import depth_groups
from difflr.depth.named_head import HEAD, Target, is_default
from difflr.plan import Plan
from difflr.plan.targets import Targets
from difflr.recipes.plan_from_decisions import factor_or_frozen, plan_from_decisions


def discriminative(
    model: keras.Layer,
    low: float | None = None,
    high: float = 1.0,
    *,
    groups: Sequence[Target] | None = None,
    head: Target = HEAD,
    within: Target = None,
) -> Plan:
    """Multipliers from `low` at the bottom to `high` at the top, growing by the same factor from group to group.

    `discriminative(model, 0.01)` is fastai's `slice(base / 100, base)`; without `low` it is `slice(base)`: the last
    group gets `high`, all others a tenth of it.

    Args:
        model: A built model.
        low: Float > 0, the multiplier of the lowest group. `None`: all groups but the last get `high / 10`.
        high: Float > 0, the multiplier of the last group.
        groups: From bottom to top, each a target (layer, path pattern, kind, ...; as in `difflr.Rule`) or a list of
            targets; together they contain every variable once. `None`: `difflr.depth.depth_groups(model)`.
        head: The target of the head, or a list of targets, for `depth_groups`.
        within: A target or a list of targets, such as `"encoder"`: only this part of the model gets multipliers, from its
            own groups.

    Returns:
        A `difflr.Plan`.

    Raises:
        ValueError: If a value is not positive; if `groups` miss a variable, contain one twice, or are combined with `head`
            or `within`; or if the model is not built or has no head.

    Example:

    ```python
    plan = difflr.discriminative(model, 0.01)
    plan = difflr.discriminative(model, 0.1, groups=["backbone/stem", "backbone/block", "head"])
    ```

    Reference: Howard and Ruder, "Universal Language Model Fine-tuning for Text Classification" (ACL 2018); fastai's
    `even_mults` and `slice` (`fastai/learner.py`, `fastai/optimizer.py`).
    """
    for name, value in (("low", low), ("high", high)):
        if value is not None and checked_multiplier(value, name) == 0:
            raise ValueError(
                f"`{name}` must be above 0, as multipliers grow by a constant factor. Received: {value!r}."
            )
    if groups is None:
        members = [list(group.variables) for group in depth_groups(model, head=head, within=within)]
    elif within is None and is_default(head):
        members = _variables_of(model, groups)
    else:
        raise ValueError("`groups` already cover the whole model: leave out `head` and `within`.")
    last = len(members) - 1
    multipliers = [
        high if position == last else high / 10 if low is None else low * (high / low) ** (position / last)
        for position in range(len(members))
    ]
    by_variable = {
        id(variable): (factor_or_frozen(multiplier), f"discriminative: group {position} of {len(members)}")
        for position, (multiplier, variables) in enumerate(zip(multipliers, members, strict=True), start=1)
        for variable in variables
    }
    return plan_from_decisions(model, lambda row: by_variable.get(id(row.variable)))


def _variables_of(model: keras.Layer, groups: Sequence[Target]) -> list[list[keras.Variable]]:
    """The variables of the user's groups."""
    rows = Plan(model).rows
    targets = Targets(model)
    found: dict[int, int] = {}
    members: list[list[keras.Variable]] = []
    for number, group in enumerate(groups, start=1):
        inside = targets.ids(group)
        chosen = [row for row in rows if id(row.variable) in inside]
        for row in chosen:
            if found.setdefault(id(row.variable), number) != number:
                raise ValueError(f"Groups {found[id(row.variable)]} and {number} both contain {row.path}.")
        members.append([row.variable for row in chosen])
    missing = [row.path for row in rows if id(row.variable) not in found]
    if missing:
        raise ValueError(
            f"No group contains {', '.join(missing[:5])}{', ...' if len(missing) > 5 else ''} ({len(missing)} in all). "
            "`groups` must contain every variable once, including frozen ones."
        )
    return members
