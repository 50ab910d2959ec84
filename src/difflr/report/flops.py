"""How much arithmetic of a training step freezing saves: an estimate, layer by layer."""

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import keras

from difflr import keras_private

UNKNOWN_SIZE = 64  # for dimensions that the model leaves open, such as the length of a text


def forward_flops(model: keras.Model) -> dict[int, float] | None:
    """The arithmetic of the weights in the forward pass of one sample, in the order of the calls.

    Two operations for each weight of a matrix or a convolution, at each position where it is used. Biases, norms,
    activations, embeddings and the products inside attention are left out; a recurrent cell counts for one time step.

    Args:
        model: A functional or Sequential model.

    Returns:
        Identity of the variable -> FLOPs; `None` where the model cannot be called on shapes alone.
    """
    if not isinstance(model, (keras_private.Functional, keras.Sequential)) or not model.built:
        return None
    shapes = [
        (tuple(1 if place == 0 else size or UNKNOWN_SIZE for place, size in enumerate(tensor.shape)), tensor)
        for tensor in model.inputs
    ]
    found: dict[int, float] = {}
    with contextlib.ExitStack() as stack:
        for layer in _all_layers(model):
            if keras_private.own_trainable_variables(layer):
                stack.enter_context(_counted(layer, found))
        try:
            keras_private.trace(model, shapes)
        except Exception:  # a layer that cannot be traced: no estimate, and the summary has everything else
            return None
    return found


def step_flops(forward: dict[int, float], trainable: Collection[int]) -> float:
    """The arithmetic of a training step: forward, and backward as far as it is needed.

    The gradient of a weight costs as much as its forward pass, and so does the gradient of its layer's input, which is
    needed where something is trainable in a layer that was called before.

    Args:
        forward: What `forward_flops` returned.
        trainable: The identities of the variables that are trained.
    """
    total, any_before = 0.0, False
    for key, flops in forward.items():
        total += flops * (1 + (key in trainable) + any_before)
        any_before = any_before or key in trainable
    return total


@contextlib.contextmanager
def _counted(layer: keras.Layer, found: dict[int, float]) -> Iterator[None]:
    """Counts what `layer` does whenever it is called."""
    inherited = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        outputs = inherited(*args, **kwargs)
        tensors = [value for value in keras.tree.flatten((args, kwargs)) if hasattr(value, "shape")]
        for variable in keras_private.own_trainable_variables(layer):
            positions = _positions(layer, variable, tensors, keras.tree.flatten(outputs)[0])
            found[id(variable)] = found.get(id(variable), 0.0) + 2.0 * math.prod(variable.shape) * positions
        return outputs

    vars(layer)["call"] = call  # past Keras's `__setattr__`, which would look for layers in it
    try:
        yield
    finally:
        del vars(layer)["call"]


def _positions(
    layer: keras.Layer, variable: keras.Variable, inputs: Sequence[keras.KerasTensor], output: keras.KerasTensor
) -> float:
    """At how many positions a weight is used."""
    if len(variable.shape) < 2 or isinstance(layer, keras.layers.Embedding):
        return 0.0
    transposed = "Transpose" in type(layer).__name__
    shape = tuple(inputs[0].shape if transposed and inputs else output.shape)
    if isinstance(layer, keras.layers.EinsumDense):
        own = 0
        while own < min(len(shape) - 1, len(variable.shape)) and shape[-own - 1] == variable.shape[-own - 1]:
            own += 1
        return float(math.prod(shape[: len(shape) - own]))
    channels = shape[1 if getattr(layer, "data_format", None) == "channels_first" else -1]
    return math.prod(shape) / channels


def _all_layers(model: keras.Layer) -> list[keras.Layer]:
    found: dict[int, keras.Layer] = {}
    pending = [model]
    while pending:
        layer = pending.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            pending += keras_private.sublayers(layer)
    return list(found.values())
