"""`new_head`: another last layer on a pretrained model; `after_vectorization`: a model of texts, without its words."""

from typing import Any

import keras

from difflr import keras_private
from difflr.checks import did_you_mean

POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}


def new_head(
    model: keras.Model,
    num_classes: int,
    *,
    features: str | None = None,
    activation: str | None = "softmax",
    name: str = "head",
) -> keras.Model:
    """A model with the layers of `model` and a new last one, for other classes.

    If the last layer with weights is `Dense`, the new one takes its place; else it comes after the whole model, behind a
    global average pooling if that puts out feature maps. The layers are shared with `model`: training
    the one trains the other.

    Args:
        model: A functional or Sequential model, built, with one output.
        num_classes: Integer. Outputs of the new layer, at least 2.
        features: The name of the layer after whose output the new head comes; what came after it is left out.
        activation: As of `keras.layers.Dense`.
        name: The new layer's name; `new_<name>` if it is taken.

    Returns:
        A functional model, not compiled.

    Raises:
        ValueError: If the model is of another kind, has several outputs, no layer `features`, or puts out neither
            features nor feature maps.

    Example:

    ```python
    network = difflr.new_head(model, 5)
    print(network.output_shape)  # (None, 5)
    ```

    Reference: fastai's `create_vision_model` (`vision/learner.py`) cuts a network at its last pooling.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"`num_classes` must be an integer >= 2. Received: {num_classes!r}.")
    model = as_functional(model)
    if len(model.outputs) != 1:
        raise ValueError(f"A new head is for models with one output. Received: {len(model.outputs)} outputs.")
    x = _features(model, features)
    if len(x.shape) in POOLING:
        x = POOLING[len(x.shape)](name=_free(model, "pool"))(x)
    if len(x.shape) != 2:
        raise ValueError(f"A new head needs features of shape (batch, number). Received: {x.shape}. Say `features`.")
    outputs = keras.layers.Dense(num_classes, activation=activation, name=_free(model, name))(x)
    return keras.Model(model.inputs, outputs, name=model.name)


def as_functional(model: keras.Model) -> Any:
    """`model`, or, if it is Sequential, a functional model with its layers.

    Raises:
        ValueError: If it is neither, or not built.
    """
    if isinstance(model, keras.Sequential) and model.built:
        inputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        x = inputs
        for layer in model.layers:
            x = layer(x)
        return keras.Model(inputs, x, name=model.name)
    if not isinstance(model, keras_private.Functional):
        raise ValueError(
            f"Only functional and Sequential models, built, can be cut. Received: {type(model).__name__} '{model.name}'."
        )
    return model


def _features(model: Any, features: str | None) -> Any:
    """The tensor that the new head takes."""
    calls = keras_private.graph_of(model).calls
    if features is not None:
        found = [call.outputs for call in calls if call.operation.name == features]
        if not found:
            names = [call.operation.name for call in calls]
            hint = did_you_mean(features, names)
            raise ValueError(f"The model has no layer '{features}'.{hint} Its last ones are: {', '.join(names[-5:])}.")
        return found[-1][0]
    last = [call for call in calls if call.variables][-1:]
    if last and isinstance(last[0].operation, keras.layers.Dense):
        return last[0].inputs[0]
    return model.outputs[0]


def _free(model: Any, name: str) -> str:
    taken = {operation.name for operation in model.operations}
    while name in taken:
        name = f"new_{name}"
    return name


def after_vectorization(model: keras.Model) -> tuple[Any, keras.Model]:
    """The TextVectorization layer of a model that takes texts, and the model from there on, which takes numbers.

    Strings are no tensors outside of TensorFlow, so texts are turned into numbers once, before training; the layers are
    shared with `model`, which is trained along.

    Args:
        model: A functional or Sequential model with one input of strings.

    Returns:
        The layer, to be called on an array of strings, and a functional model that takes what it puts out.

    Raises:
        ValueError: If the model has no such layer behind its input.
    """
    model = as_functional(model)
    for call in keras_private.graph_of(model).calls:
        if isinstance(call.operation, keras.layers.TextVectorization) and call.inputs[0] is model.inputs[0]:
            rest = keras.Model(call.outputs[0], model.outputs, name=model.name)
            return call.operation, _with_short_integers(rest)
    raise ValueError(
        f"{type(model).__name__} '{model.name}' takes no texts: it has no TextVectorization layer behind its input. Put "
        "one there, or turn the texts into numbers and give an .npz file."
    )


def _with_short_integers(model: Any) -> Any:
    """The same layers behind an input of int32 in place of int64, which JAX does not have and would warn about."""
    given = model.inputs[0]
    if keras.backend.standardize_dtype(given.dtype) != "int64":
        return model
    inputs = keras.Input(batch_shape=given.shape, dtype="int32")
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=lambda layer: layer)
