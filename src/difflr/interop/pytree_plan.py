"""`pytree_plan`: rules for a pytree of JAX arrays, such as the parameters of Flax and Haiku."""

from typing import Any

from difflr.interop.parameter import Parameter, leaf_of
from difflr.plan import Plan

_KERNELS, _BIASES, _NORMS = ("kernel", "weight", "w"), ("bias", "b"), {"scale", "bias", "offset"}


def pytree_plan(parameters: Any, rules: Any = None) -> Plan:
    """Create a plan for a pytree of arrays, on any Keras backend.

    Rules work as in `difflr.Plan`. Paths are the keys joined by `/`: `params/Dense_0/kernel`. All kinds of `difflr.Rule`
    except the head work, by Flax and Haiku names: a parameter next to a `scale` has the kind norm.

    Args:
        parameters: The pytree.
        rules: As for `difflr.Plan`.

    Returns:
        A `difflr.Plan`, for `difflr.interop.optax_transform`.

    Raises:
        ImportError: If JAX is not installed.
        ValueError: As for `difflr.Plan`, or if two leaves have the same path.

    Example:

    ```python
    import numpy as np
    import optax

    tree = {"body": {"kernel": np.ones((3, 4)), "bias": np.zeros(4)}, "head": {"kernel": np.ones((4, 2))}}
    plan = difflr.interop.pytree_plan(tree, {"body": 0.1, "kind:bias": difflr.FROZEN})
    transform = difflr.interop.optax_transform(plan, optax.adamw, tree, learning_rate=1e-3, weight_decay=0.05)
    ```
    """
    values = dict(paths_and_values(parameters))
    names: dict[str, set[str]] = {}
    for path in values:
        owner, _, name = path.rpartition("/")
        names.setdefault(owner, set()).add(name)
    leaves = [
        leaf_of(Parameter(path, value), _kinds(path, names, len(value.shape)), [path]) for path, value in values.items()
    ]
    return Plan(leaves, rules)


def paths_and_values(parameters: Any) -> list[tuple[str, Any]]:
    """The leaves of a pytree and their paths, in JAX's order.

    Args:
        parameters: The pytree.

    Raises:
        ValueError: If two have the same path.
    """
    try:
        import jax
    except ImportError:
        raise ImportError("Pytrees of arrays need JAX: pip install jax") from None
    leaves = jax.tree_util.tree_flatten_with_path(parameters)[0]
    found = [(jax.tree_util.keystr(keys, simple=True, separator="/"), value) for keys, value in leaves]
    paths = [path for path, _ in found]
    twice = next((path for path in paths if paths.count(path) > 1), None)
    if twice is not None:
        raise ValueError(f"Two leaves of the pytree have the path '{twice}', because a key contains `/`. Rename it.")
    return found


def _kinds(path: str, names: dict[str, set[str]], rank: int) -> set[str]:
    owner, _, name = path.rpartition("/")
    if "scale" in names[owner] <= _NORMS:
        return {"norm"}
    if name in ("embedding", "embeddings"):
        return {"embedding"}
    if name in _BIASES:
        return {"bias"}
    return {"kernel"} if name in _KERNELS and rank > 1 else set()
