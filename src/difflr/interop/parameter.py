"""`Parameter`: a parameter of a torch module or of a JAX pytree, in the place of a Keras variable in a plan."""

import dataclasses
from typing import Any

from difflr.plan import Plan
from difflr.plan.layer_tree import Leaf


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """What a plan has to know of a parameter that is no Keras variable. Functions as targets are called with it.

    Args:
        path: Its names in the module or tree, joined by `/`.
        value: The parameter itself.
        trainable: Whether it is trained if no rule says anything.
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
        kinds: The kinds that it is of, but for those that its shape tells.
        paths: All its paths.
        ancestors: The identities of the objects that as targets mean it.
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
    """Whether the plan is one for a torch module or a pytree."""
    return isinstance(plan.rows[0].variable, Parameter)
