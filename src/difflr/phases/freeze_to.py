"""`freeze_to` and `unfreeze`: between two calls of `fit`, with the optimizer's state kept."""

from typing import Any

import keras

from difflr import keras_private
from difflr.depth import DepthGroup, depth_groups
from difflr.optimizers import DifferentialOptimizer
from difflr.optimizers.replan import Trainable
from difflr.recipes.plan_from_decisions import close_matches


def freeze_to(model: keras.Model, group: int | str, head: Any = "kind:head") -> list[str]:
    """Freezes everything below a depth group; that group and all above it are trainable. For the next `fit`.

    The optimizer keeps its state by variable: what is frozen now finds its own again when it is trainable. What the plan
    freezes stays frozen. To freeze and unfreeze inside one `fit`, use `difflr.PhaseScheduler`.

    Args:
        model: A model compiled with a differential optimizer.
        group: The first group that is trainable: its number, from the bottom (0) or from the head (-1), or its name. See
            `difflr.depth.depth_groups`.
        head: The target that is the head, as there.

    Returns:
        The names of the groups that are trainable, bottom first.

    Raises:
        TypeError: If the optimizer is none of difflr's.
        ValueError: If the model is not compiled or has no head, there is no such group, or nothing would be trainable.

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
    optimizer = _ready_optimizer(model, "freeze_to")
    groups = depth_groups(model, head=head)
    number = _number(group, groups)
    plan = optimizer._replanning.whole_plan()
    trained = {id(row.variable) for row in plan.rows if not row.frozen}
    trainable = frozenset(id(variable) for each in groups[number:] for variable in each.variables) & trained
    if not trainable:
        raise ValueError(
            f"Nothing would be trainable: all from group '{groups[number].name}' on is frozen, by the plan or by "
            "`layer.trainable = False`."
        )
    below = {id(layer) for each in groups[:number] for layer in each.statistics}
    frozen_layers = tuple(each.path for each in plan._statistics if id(each.layer) in below)
    optimizer._replanning.go_live(model, Trainable(trainable, "freeze_to", plan.frozen_statistics, frozen_layers))
    keras_private.forget_step(model)
    return [each.name for each in groups[number:]]


def unfreeze(model: keras.Model) -> None:
    """Makes everything trainable again that the plan trains, for the next `fit`; the optimizer keeps its state.

    Args:
        model: A model compiled with a differential optimizer.

    Raises:
        TypeError: If the optimizer is none of difflr's.
        ValueError: If the model is not compiled.

    Example: see `difflr.freeze_to`.
    """
    optimizer = _ready_optimizer(model, "unfreeze")
    if optimizer._replanning.in_force:
        optimizer._replanning.go_back(model)
        keras_private.forget_step(model)


def _ready_optimizer(model: keras.Model, name: str) -> DifferentialOptimizer:
    """The model's optimizer, built and told of the model."""
    if getattr(model, "optimizer", None) is None:
        raise ValueError(
            f"`{name}` is for a compiled model: call `model.compile(difflr.optimizers.Adam(...), ...)` first."
        )
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not isinstance(optimizer, DifferentialOptimizer):
        known = type(optimizer).__name__
        raise TypeError(
            f"`{name}` keeps the state of an optimizer, which needs one of difflr's. Received: {known}. Compile with "
            f"difflr.optimizers.{known}(...), or use difflr.Model."
        )
    optimizer.bind(model)
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return optimizer


def _number(group: int | str, groups: list[DepthGroup]) -> int:
    """The position of a group, from the bottom."""
    names = [each.name for each in groups]
    listed = ", ".join(f"{number} '{name}'" for number, name in enumerate(names))
    if isinstance(group, str):
        if group in names:
            return names.index(group)
        hint = close_matches(group, names)
        raise ValueError(f"The model has no depth group '{group}'.{hint} Its groups, bottom first: {listed}.")
    if isinstance(group, bool) or not isinstance(group, int) or not -len(groups) <= group < len(groups):
        raise ValueError(
            f"`group` must be the name of a depth group, or an integer from {-len(groups)} to {len(groups) - 1}. "
            f"Received: {group!r}. The groups, bottom first: {listed}."
        )
    return group % len(groups)
