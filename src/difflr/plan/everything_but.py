"""`everything_but`: a target that is all that others are not."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True, eq=False)
class EverythingBut:
    """What `everything_but` returns.

    Args:
        targets: The targets that are left out.
    """

    targets: tuple[Any, ...]


def everything_but(*targets: Any) -> EverythingBut:
    """A target of a rule: every variable that none of `targets` names.

    Args:
        targets: Targets of any form (see `difflr.Rule`), lists of them too. Each has to name something.

    Returns:
        A target, to be used wherever a target is expected.

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
