"""The head, the loss and the metrics that fit the kind of target."""

from typing import TypedDict

import keras
import numpy as np

import difflr
from difflr.data.examples import some
from difflr.text_table import counted
from difflr_command.models import load
from difflr_command.settings import Settings
from difflr_command.sources import Source


class Compiling(TypedDict, total=False):
    """The arguments of `compile`; none if the model has its own."""

    loss: keras.losses.Loss
    metrics: list[keras.metrics.Metric | str]


def with_head(network: keras.Model, source: Source, features: str | None) -> tuple[keras.Model, str]:
    """`network` with a new head for what `source` has, and a note about it.

    Args:
        network: The model.
        source: The data.
        features: The layer after which the head comes.

    Raises:
        ValueError: If the model cannot have one.
    """
    numbers = source.numbers
    number = len(source.class_names) if numbers is None else _columns(numbers)
    activation = {"classes": "softmax", "labels": "sigmoid"}.get(source.task)
    headed = difflr.new_head(network, number, features=features, activation=activation)
    head = headed.layers[-1]
    outputs = counted(number, "class", "classes") if numbers is None else counted(number, "number")
    note = f"new head '{head.name}': {head.input.shape[-1]} features -> {outputs}"
    if numbers is None:
        return headed, note
    # In the model, so that its file predicts numbers: a head begins near 0, and prices do not.
    deviation = np.where(numbers.std(0) > 0, numbers.std(0), 1.0)
    to_numbers = keras.layers.Rescaling(deviation.tolist(), numbers.mean(0).tolist(), name="to_numbers")
    return keras.Model(headed.input, to_numbers(headed.output), name=headed.name), note


def compiling_for(settings: Settings, model: keras.Model, source: Source) -> tuple[keras.Model, Compiling]:
    """The model, another one if its file has its own loss, and loss and metrics.

    Args:
        settings: The settings.
        model: The model, with its new head if it gets one.
        source: The data.

    Raises:
        ValueError: If the model's outputs do not fit.
    """
    if source.task == "labels":
        return model, _loss_for_several(model, source.class_names)
    if source.task == "classes":
        return model, loss_for(model, source.class_names, source.form == "arrays")
    if not settings.with_new_head:
        compiled = load(settings.model, compile=True)
        if compiled.compiled:
            return compiled, {}
    number, softmax = _columns(source.numbers), output_activation(model) == "softmax"
    if model.output_shape != (None, number) or softmax:
        raise ValueError(
            f"The data has {counted(number, 'number')} to predict, and the model puts out {model.output_shape}"
            f"{' by a softmax' if softmax else ''}. Give it a new last layer: --new-head. If the data has labels, say "
            "--targets labels."
        )
    return model, {"loss": keras.losses.MeanSquaredError(), "metrics": [keras.metrics.MeanAbsoluteError(name="mae")]}


def _columns(numbers: np.ndarray | None) -> int:
    return 1 if numbers is None or numbers.ndim == 1 else numbers.shape[1]


def _loss_for_several(model: keras.Model, class_names: tuple[str, ...]) -> Compiling:
    number, activation = len(class_names), output_activation(model)
    if model.output_shape != (None, number) or activation == "softmax":
        raise ValueError(
            f"An example may have several of {counted(number, 'label')}, for which a model needs as many outputs, each a "
            f"probability of its own. It puts out {model.output_shape}{' by a softmax' if activation == 'softmax' else ''}. "
            "Give it a new last layer: --new-head."
        )
    if activation != "sigmoid":
        accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
        return {"loss": keras.losses.BinaryCrossentropy(from_logits=True), "metrics": [accuracy]}
    f1 = keras.metrics.F1Score(average="micro", threshold=0.5, name="f1")
    return {"loss": keras.losses.BinaryCrossentropy(), "metrics": [keras.metrics.BinaryAccuracy(name="accuracy"), f1]}


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
        hint = " If y holds numbers to predict, say --targets numbers." if may_have_more else ""
        raise ValueError(f"The model puts out one number, and the data has {classes}.{hint} {advice}")
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
