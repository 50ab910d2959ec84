"""`everything_but`: a target that matches everything other targets do not."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False)
class EverythingBut:
    """The result of `everything_but`.

    Args:
        targets: The excluded targets.
    """

    targets: tuple[Any, ...]


def everything_but(*targets: Any) -> EverythingBut:
    """A target that matches every variable that none of `targets` match.

    Args:
        targets: Targets of any form (see `difflr.Rule`), or lists of them. Each must match something.

    Returns:
        A target, for use wherever a target is expected.

    Raises:
        ValueError: If there are no targets.

    Example:

    ```python
    plan = difflr.Plan(model, {difflr.everything_but("head"): difflr.FROZEN})
    ```
    """
    if not targets:
        raise ValueError("`everything_but` needs at least one target, such as everything_but('head'). For all use '*'.")
    return EverythingBut(targets)
