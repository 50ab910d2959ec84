"""A warning when a stock optimizer is about to ignore what layers declare."""

import warnings
from collections.abc import Sequence

import keras

from difflr.plan.declared import declaring_layers


def warn_if_ignored(optimizer: keras.optimizers.Optimizer, variables: Sequence[keras.Variable]) -> None:
    """Warn that `optimizer` will ignore multipliers.

    Args:
        optimizer: An optimizer that is about to be built, not a differential one. A wrapper ignores nothing.
        variables: What it will train.
    """
    if any(hasattr(optimizer, name) for name in ("inner_optimizer", "optimizers")):
        return
    trained = {id(variable) for variable in variables}
    names = [
        layer.name
        for layer in declaring_layers(variables)
        if any(id(variable) in trained and value not in (0, 1) for variable, value in layer.multipliers.items())
    ]
    if names:
        who = f"'{names[0]}' declares" if len(names) == 1 else f"'{names[0]}' and {len(names) - 1} more declare"
        warnings.warn(
            f"Layer {who} learning-rate multipliers, which Keras's {type(optimizer).__name__} ignores. Train with "
            "`difflr.optimizers.differential(optimizer)`, or use `difflr.Model` or `difflr.Sequential`, which convert it.",
            stacklevel=2,
        )
