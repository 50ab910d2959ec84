"""Loss and metrics that fit a model's outputs and the classes."""

from typing import TypedDict

import keras

from difflr.data.examples import counted, some


class Compiling(TypedDict, total=False):
    """The arguments of `compile`; none if the model has its own."""

    loss: keras.losses.Loss
    metrics: list[keras.metrics.Metric | str]


def loss_for(model: keras.Model, class_names: tuple[str, ...], may_have_more: bool) -> Compiling:
    """Loss and metrics for labels.

    Args:
        model: The model.
        class_names: The classes.
        may_have_more: Whether the model may have outputs for more classes.

    Raises:
        ValueError: If the model's outputs do not fit.
    """
    shape, number = model.output_shape, len(class_names)
    classes = counted(number, "class", "classes")
    advice = f"Give it a new last layer: --new-head. (For {classes}: {some(class_names)}.)"
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(f"The model puts out {shape}, not a number for each class. {advice}")
    activation = output_activation(model)
    if shape[1] == 1 and number == 2:
        logits = activation != "sigmoid"
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if logits else 0.5)
        return {"loss": keras.losses.BinaryCrossentropy(from_logits=logits), "metrics": [accuracy]}
    if shape[1] == 1:
        amounts = " If y holds amounts to predict, say --targets numbers." if may_have_more else ""
        raise ValueError(f"The model puts out one number, and the data has {classes}.{amounts} {advice}")
    if shape[1] < number or (shape[1] > number and not may_have_more):
        raise ValueError(
            f"The model tells {counted(shape[1], 'class', 'classes')} apart, and the data has {number}. {advice}"
        )
    logits = activation not in ("softmax", "sigmoid")
    return {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=logits), "metrics": ["accuracy"]}


def output_activation(model: keras.Model) -> str | None:
    """The name of the activation of the model's last layer, such as `"softmax"`; `None` if it has none."""
    layer = model.layers[-1]
    if isinstance(layer, keras.Model):
        return output_activation(layer)
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", None)
