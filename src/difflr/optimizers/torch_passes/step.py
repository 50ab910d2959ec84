"""The data of one step on torch."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import keras

from difflr import keras_private
from difflr.optimizers.groups import Groups

Tensor: TypeAlias = Any  # a `torch.Tensor`; this is imported without torch, too

# Elements per piece: four float32 arrays of this size fit in a core's cache.
CPU_PIECE = 1 << 16


class Step:
    """One step of a torch optimizer.

    Rates are Python floats on a CPU, and scalar tensors on a GPU, so that no step waits for it.

    Args:
        name: The Keras optimizer whose vectorized update to compute, one of `torch_passes.NAMES`.
        optimizer: The optimizer, for its settings and state.
        groups: Its groups.
        variables: Keras variables.
        grads: Their gradients, torch tensors.
        learning_rate: The base rate, a scalar.
        is_last: Whether these are the last variables of this step.
    """

    def __init__(
        self,
        name: str,
        optimizer: keras.optimizers.Optimizer,
        groups: Groups,
        variables: Sequence[keras.Variable],
        grads: list[Tensor],
        learning_rate: Tensor,
        is_last: bool = True,
    ):
        self.name = name
        self.is_last = is_last
        self.optimizer = optimizer
        self.groups = groups
        self.members = groups.members(variables)
        self.variables = keras_private.values(variables)
        self.grads = grads
        slots = keras_private.state_of(optimizer, name)
        self.state = [keras_private.values([slot[position] for position in self.members.positions]) for slot in slots]
        first = self.variables[0]
        self.dtype = first.dtype
        self.on_cpu = first.device.type == "cpu"
        self.base_rate = keras.ops.convert_to_tensor(learning_rate)
        self.exact_rates = self.groups.rates(self.base_rate)  # (groups,), in the precision of the rate
        self.rates = self.exact_rates.to(self.dtype)  # Keras casts rates to this dtype, except in SGD
        self.number = keras.ops.cast(optimizer.iterations + 1, self.dtype)

    def number_of(self, value: float) -> Tensor:
        """`value` as a tensor with the variables' dtype."""
        import torch

        return torch.tensor(value, dtype=self.dtype, device=self.number.device)

    def power(self, base: float, ahead: int = 0) -> Tensor:
        """`base ** (step + ahead)` in the variables' dtype, as in Keras."""
        return self.number_of(base) ** (self.number + ahead)

    def scalars(self, values: Tensor) -> list[float | Tensor]:
        """The elements of a tensor: Python floats on a CPU, scalar tensors on a GPU."""
        return list(values.tolist() if values.device.type == "cpu" else values.unbind())

    def by_variable(self, of_groups: Sequence[Any]) -> list[Any]:
        """The entry of its group for each variable."""
        return [of_groups[number] for number in self.members.numbers]

    def pieces(self, rates: Tensor) -> Iterator[tuple[Any, ...]]:
        """Applies weight decay and yields `(rates, variables, gradients, *state)`, piece by piece.

        Args:
            rates: A tensor with one rate per group.
        """
        columns = [self.by_variable(self.scalars(rates)), self.variables, self.grads, *self.state]
        kept = self.by_variable(self.kept_by_decay())
        for start, stop in self._cuts():
            decay(self.variables[start:stop], kept[start:stop])
            yield tuple(column[start:stop] for column in columns)

    def _cuts(self) -> Iterator[tuple[int, int]]:
        start = held = 0
        for position, variable in enumerate(self.variables if self.on_cpu else ()):
            if held and held + variable.numel() > CPU_PIECE:
                yield start, position
                start, held = position, 0
            held += variable.numel()
        yield start, len(self.variables)

    def kept_by_decay(self) -> list[float | Tensor | None]:
        """The factor of Keras's decoupled weight decay for each group; `None` for a group without decay."""
        import torch

        multipliers = self.groups.weight_decay_multipliers
        if self.optimizer.weight_decay is None:
            return [None] * len(multipliers)
        rates = self.groups.rates(self.base_rate, for_decay=True)
        kept = 1 - self.optimizer.weight_decay * rates
        # In half precision a Python number is rounded before the product (0.998 to 0.996); a tensor is not.
        half = self.dtype in (torch.float16, torch.bfloat16)
        scalars = list(kept.unbind()) if half else self.scalars(kept)
        return [factor if multiplier else None for factor, multiplier in zip(scalars, multipliers, strict=True)]


def decay(variables: Sequence[Tensor], kept: Sequence[float | Tensor | None]) -> None:
    """Multiplies each variable by its decay factor, if it has one."""
    import torch

    if None in kept:
        decaying = [(variable, factor) for variable, factor in zip(variables, kept, strict=True) if factor is not None]
        if not decaying:
            return
        variables, kept = zip(*decaying, strict=True)
    torch._foreach_mul_(variables, kept)
