"""`Parameter`: a parameter of a torch module or JAX pytree, used in a plan instead of a Keras variable."""

import dataclasses
from typing import Any

from difflr.plan import Plan
from difflr.plan.layer_tree import Leaf


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """What a plan needs to know about a parameter that is not a Keras variable. Target functions receive it.

    Args:
        path: Its names in the module or pytree, joined by `/`.
        value: The parameter itself.
        trainable: Whether it trains when no rule matches.
    """

    path: str
    value: Any
    trainable: bool = True

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.value.shape)


def leaf_of(parameter: Parameter, kinds: set[str], paths: list[str], ancestors: frozenset[int] = frozenset()) -> Leaf:
    """The leaf of a parameter, for `Plan`.

    Args:
        parameter: The parameter.
        kinds: Its kinds, except those decided by its shape.
        paths: All its paths.
        ancestors: The ids of the objects that match it when used as targets.
    """
    return Leaf(
        parameter,  # type: ignore[arg-type]
        None,
        paths,
        parameter.path,
        ancestors,
        frozen_by_user=not parameter.trainable,
        kinds=frozenset(kinds),
    )


def is_of_parameters(plan: Plan) -> bool:
    """Whether the plan is for a torch module or a pytree."""
    return isinstance(plan.rows[0].variable, Parameter)
