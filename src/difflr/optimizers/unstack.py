"""The numbers of a vector, one by one, in the form that each backend compiles and runs quickest."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

Tensor: TypeAlias = Any  # one of the backend's, or a variable


def stack(scalars: Sequence[Tensor]) -> Tensor:
    """The vector of `scalars`.

    Args:
        scalars: Tensors of shape `()`.
    """
    if keras.backend.backend() == "torch":
        import torch  # `keras.ops.stack` takes 7 microseconds for each of its tensors

        return torch.stack(list(scalars))
    return keras.ops.stack(scalars)


def unstack(vector: Tensor) -> list[Tensor]:
    """The entries of `vector` as scalars.

    Args:
        vector: A tensor or variable of shape `(n,)`.
    """
    vector = keras.ops.convert_to_tensor(vector)
    if keras.backend.backend() == "torch":
        return list(vector.unbind())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return list(tf.unstack(vector))
    import jax

    if isinstance(vector, jax.core.Tracer) and jax.default_backend() == "cpu":
        return _unstack_for_xla_on_cpu(vector)
    return list(vector)


def _unstack_for_xla_on_cpu(vector: Tensor) -> list[Tensor]:
    """The same by one operation, again and again: takes the first entry, and rolls the others up.

    XLA compiles a kernel once for all places that use the same one. With `vector[0]`, `vector[1]`, ... it draws the index
    into the update of each variable, so that no two are the same: 49 groups with SGD compile in 2.7 s instead of 0.4. The
    barrier keeps it from seeing through. On a GPU each roll would be a kernel to launch, at every step, so the entries are
    read there where they are used.
    """
    import jax

    entries = []
    for _ in range(vector.shape[0]):
        first, vector = jax.lax.optimization_barrier((vector[0], jax.numpy.roll(vector, -1)))
        entries.append(first)
    return entries
