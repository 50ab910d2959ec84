"""`freeze_to` and `unfreeze`: between two calls of `fit`, or in a callback; the optimizer keeps its state."""

import keras

from difflr.checks import did_you_mean
from difflr.depth import DepthGroup, depth_groups
from difflr.optimizers.plan_of import plan_of
from difflr.optimizers.replan import ready_optimizer, replan


def freeze_to(model: keras.Model, group: int | str, head: object = "kind:head") -> list[str]:
    """Freezes everything below a depth group; that group and all above it are trainable.

    The optimizer keeps its state by variable and restores it when variables are unfrozen. What the plan freezes stays
    frozen. To schedule freezing inside one `fit`, use `difflr.PhaseScheduler`.

    Args:
        model: A model compiled with a difflr optimizer.
        group: The lowest trainable group: its number, from the bottom (0) or from the head (-1), or its name. See
            `difflr.depth.depth_groups`.
        head: The target of the head, as there.

    Returns:
        The names of the trainable groups, bottom first.

    Raises:
        TypeError: If the optimizer is not a difflr optimizer.
        ValueError: If the model is not compiled or has no head, the group does not exist, or nothing would be trainable.

    Example:

    ```python
    import difflr

    model.compile(difflr.optimizers.Adam(1e-3), loss="mse")
    difflr.freeze_to(model, -1)  # the head alone
    model.fit(x, np.eye(3)[y], verbose=0)
    difflr.unfreeze(model)
    model.fit(x, np.eye(3)[y], verbose=0)
    ```

    Reference: fastai's `freeze_to` and `unfreeze` (`optimizer.py`), which clear the optimizer's state.
    """
    optimizer = ready_optimizer(model, "freeze_to")
    groups = depth_groups(model, head=head)
    number = _number(group, groups)
    plan = optimizer.whole_plan()
    above = {id(variable) for depth_group in groups[number:] for variable in depth_group.variables}
    if not any(id(row.variable) in above for row in plan.rows if not row.frozen):
        raise ValueError(
            f"Nothing would be trainable: all from group '{groups[number].name}' on is frozen, by the plan or by "
            "`layer.trainable = False`."
        )
    below = {id(layer) for depth_group in groups[:number] for layer in depth_group.statistics}
    frozen_layers = [layer.path for layer in plan.statistics if id(layer.layer) in below]
    replan(model, plan.only(above, "freeze_to", frozen_layers=frozen_layers))
    return [depth_group.name for depth_group in groups[number:]]


def unfreeze(model: keras.Model) -> None:
    """Unfreezes everything that the plan trains; the optimizer keeps its state.

    Args:
        model: A model compiled with a difflr optimizer.

    Raises:
        TypeError: If the optimizer is not a difflr optimizer.
        ValueError: If the model is not compiled.

    Example: see `difflr.freeze_to`.
    """
    optimizer = ready_optimizer(model, "unfreeze")
    plan = plan_of(model)
    if plan.whole is not plan:
        replan(model, optimizer.whole_plan())


def _number(group: int | str, groups: list[DepthGroup]) -> int:
    """The position of a group, from the bottom."""
    names = [depth_group.name for depth_group in groups]
    listed = ", ".join(f"{number} '{name}'" for number, name in enumerate(names))
    if isinstance(group, str):
        if group in names:
            return names.index(group)
        hint = did_you_mean(group, names)
        raise ValueError(f"The model has no depth group '{group}'.{hint} Its groups, bottom first: {listed}.")
    if isinstance(group, bool) or not isinstance(group, int) or not -len(groups) <= group < len(groups):
        raise ValueError(
            f"`group` must be the name of a depth group, or an integer from {-len(groups)} to {len(groups) - 1}. "
            f"Received: {group!r}. The groups, bottom first: {listed}."
        )
    return group % len(groups)
