"""Who takes part: the stock Keras optimizer, difflr, and what else gives groups their own rates.

A contender is made for a bare layer and a number of groups. `first_step()` traces and compiles anew, `run(steps)` waits
for the end, `variables()` are the bytes of each variable of its state.
"""

from collections.abc import Callable
from typing import Any

import keras

from benchmarks import models

RATE = 1e-3
DECAY = 0.004


def arguments(name: str) -> dict[str, Any]:
    """What the optimizer `name` is made with."""
    more = {"AdamW": {"weight_decay": DECAY}, "SGD": {"momentum": 0.9}}
    return {"learning_rate": RATE, **more.get(name, {})}


def stock(layer: keras.Layer, groups: int, name: str) -> keras.optimizers.Optimizer:
    """The Keras optimizer, one rate."""
    return getattr(keras.optimizers, name)(**arguments(name))


def ours(layer: keras.Layer, groups: int, name: str) -> keras.optimizers.Optimizer:
    """The differential optimizer."""
    import difflr

    numbers = models.multipliers(groups)
    variables = layer.trainable_variables
    of = models.group_numbers(len(variables), groups)
    pairs = [(variable, numbers[group]) for variable, group in zip(variables, of, strict=True)]
    return getattr(difflr.optimizers, name)(**arguments(name), multipliers=pairs)


def several(layer: keras.Layer, groups: int, name: str) -> keras.optimizers.Optimizer:
    """Keras's MultiOptimizer: a whole optimizer for each group."""
    settings = arguments(name)
    optimizers = [
        getattr(keras.optimizers, name)(**{**settings, "learning_rate": RATE * number})
        for number in models.multipliers(groups)
    ]
    variables = layer.trainable_variables
    of = dict(zip(map(id, variables), models.group_numbers(len(variables), groups), strict=True))
    return keras.optimizers.MultiOptimizer(lambda variable: optimizers[of[id(variable)]])


KERAS = {"stock": stock, "stock again": stock, "difflr": ours, "MultiOptimizer": several}


class OnJax:
    """`stateless_apply`, jitted, its buffers donated.

    JAX pairs donated arguments with results of their shape in order: results in another order would all be copied.
    """

    def __init__(self, layer: keras.Layer, optimizer: keras.optimizers.Optimizer, mode: str):
        optimizer.build(layer.trainable_variables)
        self.optimizer = optimizer
        self.gradients = models.gradients(layer)
        self.state = [variable.value for variable in optimizer.variables]
        self.values = [variable.value for variable in layer.trainable_variables]
        self.sizes = [variable.value.nbytes for variable in optimizer.variables]

    def compiled_anew(self) -> Callable:
        import jax

        def apply(state, gradients, values):
            values, state = self.optimizer.stateless_apply(state, gradients, values)
            return state, values

        return jax.jit(apply, donate_argnums=(0, 2))

    def first_step(self) -> None:
        self.apply = self.compiled_anew()
        self.run(1)

    def run(self, steps: int) -> None:
        import jax

        for _ in range(steps):
            self.state, self.values = self.apply(self.state, self.gradients, self.values)
        jax.block_until_ready((self.values, self.state))

    def variables(self) -> list[int]:
        return self.sizes


class OnTensorFlow:
    """`apply` in a `tf.function`, as a graph or compiled by XLA."""

    def __init__(self, layer: keras.Layer, optimizer: keras.optimizers.Optimizer, mode: str):
        optimizer.build(layer.trainable_variables)
        self.optimizer = optimizer
        self.layer = layer
        self.gradients = models.gradients(layer)
        self.mode = mode

    def first_step(self) -> None:
        import tensorflow as tf

        self.apply = tf.function(
            lambda: self.optimizer.apply(self.gradients, self.layer.trainable_variables),
            jit_compile=self.mode == "xla",
        )
        self.run(1)

    def run(self, steps: int) -> None:
        import tensorflow as tf

        for _ in range(steps):
            self.apply()
        if tf.config.list_logical_devices("GPU"):
            tf.test.experimental.sync_devices()

    def variables(self) -> list[int]:
        return [keras.ops.size(v.value).numpy() * v.value.dtype.size for v in self.optimizer.variables]


class OnTorch:
    """`apply`, eager."""

    def __init__(self, layer: keras.Layer, optimizer: keras.optimizers.Optimizer, mode: str):
        optimizer.build(layer.trainable_variables)
        self.optimizer = optimizer
        self.layer = layer
        self.gradients = models.gradients(layer)

    def first_step(self) -> None:
        self.run(1)

    def run(self, steps: int) -> None:
        import torch

        with torch.no_grad():
            for _ in range(steps):
                self.optimizer.apply(self.gradients, self.layer.trainable_variables)
        wait_for_torch()

    def variables(self) -> list[int]:
        return [v.value.numel() * v.value.element_size() for v in self.optimizer.variables]


class WithOptax(OnJax):
    """`optax.partition`: a transformation for each group."""

    def __init__(self, layer: keras.Layer, groups: int, name: str):
        import jax
        import optax

        partition = getattr(optax, "partition", None) or optax.multi_transform
        numbers = models.multipliers(groups)
        of = models.group_numbers(len(layer.trainable_variables), groups)
        self.gradients = models.gradients(layer)
        self.values = [variable.value for variable in layer.trainable_variables]
        self.transformation = partition(
            {group: optax.adamw(RATE * number, weight_decay=DECAY) for group, number in enumerate(numbers)}, of
        )
        self.state = self.transformation.init(self.values)
        self.sizes = [leaf.nbytes for leaf in jax.tree.leaves(self.state)]

    def compiled_anew(self) -> Callable:
        import jax
        import optax

        def apply(state, gradients, values):
            updates, state = self.transformation.update(gradients, state, values)
            return state, optax.apply_updates(values, updates)

        return jax.jit(apply, donate_argnums=(0, 2))


class WithTorchOptim:
    """`torch.optim.AdamW` with parameter groups.

    Args:
        layer: The bare layer.
        groups: How many parameter groups.
        how: `"foreach"` or `"fused"`.
    """

    def __init__(self, layer: keras.Layer, groups: int, how: str):
        import torch

        parameters = [variable.value for variable in layer.trainable_variables]
        for parameter, gradient in zip(parameters, models.gradients(layer), strict=True):
            parameter.grad = gradient
        of = models.group_numbers(len(parameters), groups)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p, g in zip(parameters, of, strict=True) if g == group], "lr": RATE * number}
                for group, number in enumerate(models.multipliers(groups))
            ],
            weight_decay=DECAY,
            **{how: True},
        )

    def first_step(self) -> None:
        self.run(1)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.optimizer.step()
        wait_for_torch()

    def variables(self) -> list[int]:
        tensors = [tensor for state in self.optimizer.state.values() for tensor in state.values()]
        return [tensor.numel() * tensor.element_size() for tensor in tensors]


def wait_for_torch() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


PEERS = {
    "jax": {"optax.partition": lambda layer, groups: WithOptax(layer, groups, "adamw")},
    "tensorflow": {},
    "torch": {
        "torch.optim foreach": lambda layer, groups: WithTorchOptim(layer, groups, "foreach"),
        "torch.optim fused": lambda layer, groups: WithTorchOptim(layer, groups, "fused"),
    },
}
RUNNERS = {"jax": OnJax, "tensorflow": OnTensorFlow, "torch": OnTorch}


def names(backend: str) -> list[str]:
    """Everyone who takes part besides stock, as far as installed."""
    found = [name for name in KERAS if name not in ("stock", "MultiOptimizer")]
    if hasattr(keras.optimizers, "MultiOptimizer"):
        found.append("MultiOptimizer")
    return found + [name for name in PEERS[backend] if name != "optax.partition" or installed("optax")]


def installed(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None


def make(name: str, model: str, groups: int, mode: str, optimizer: str = "AdamW") -> Any:
    """A contender on a bare model of its own; `first_step()` is still to come.

    Args:
        name: Who.
        model: `"small"` or `"large"`.
        groups: How many groups of variables.
        mode: How it runs, one of the backend's modes in the settings.
        optimizer: A Keras optimizer; peers from outside Keras know `"AdamW"` only.
    """
    backend = keras.backend.backend()
    layer = models.bare_weights(model)
    if name in KERAS:
        return RUNNERS[backend](layer, KERAS[name](layer, groups, optimizer), mode)
    return PEERS[backend][name](layer, groups)
