"""`new_head`: another last layer on a pretrained model; `after_vectorization`: a model of texts, without its words."""

import warnings

import keras

from difflr import keras_private
from difflr.checks import did_you_mean

POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}
PROBABILITIES = ("softmax", "sigmoid")  # activations, layers and functions of these names


def new_head(
    model: keras.Model,
    num_classes: int,
    *,
    features: str | None = None,
    activation: str | None = "softmax",
    name: str = "head",
) -> keras.Model:
    """A model with the layers of `model` and a new last one, for other classes.

    If the last layer with weights is `Dense`, the new one takes its place; and so it does with any other layer whose
    outputs become probabilities, by a softmax or sigmoid, in a nested model too: a head stands on features. Else it comes
    after the whole model. Where it takes feature maps, a global average pooling comes before it. The layers are shared
    with `model`: training the one trains the other.

    Args:
        model: A functional or Sequential model, built, with one output.
        num_classes: Integer. Outputs of the new layer, at least 2; 1 will do without a softmax.
        features: The name of the layer after whose output the new head comes; what came after it is left out.
        activation: As of `keras.layers.Dense`.
        name: The new layer's name; `new_<name>` if it is taken.

    Returns:
        A functional model, not compiled.

    Raises:
        ValueError: If the model is of another kind, has several outputs, no layer `features`, puts out neither features
            nor feature maps, or puts out probabilities of which it is not clear what they are made of.

    Warns:
        UserWarning: If the layer `features` puts out probabilities.

    Example:

    ```python
    network = difflr.new_head(model, 5)
    print(network.output_shape)  # (None, 5)
    ```

    Reference: fastai's `create_vision_model` (`vision/learner.py`) cuts a network at its last pooling.
    """
    lowest = 2 if activation == "softmax" else 1
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < lowest:
        raise ValueError(f"`num_classes` must be an integer >= {lowest}. Received: {num_classes!r}.")
    model = as_functional(model)
    if len(model.outputs) != 1:
        raise ValueError(f"A new head is for models with one output. Received: {len(model.outputs)} outputs.")
    x = _below_the_head(model) if features is None else _output_of(model, features)
    if len(x.shape) in POOLING:
        x = POOLING[len(x.shape)](name=free_name(model, "pool"))(x)
    if len(x.shape) != 2:
        raise ValueError(f"A new head needs features of shape (batch, number). Received: {x.shape}. Say `features`.")
    outputs = keras.layers.Dense(num_classes, activation=activation, name=free_name(model, name))(x)
    return keras.Model(model.input, outputs, name=model.name)


def as_functional(model: keras.Model) -> keras_private.Functional:
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


def _output_of(model: keras_private.Functional, name: str) -> keras.KerasTensor:
    """What the layer of this name puts out."""
    calls = keras_private.graph_of(model).calls
    found = [call for call in calls if call.operation.name == name]
    if not found:
        names = [call.operation.name for call in calls]
        hint = did_you_mean(name, names)
        raise ValueError(f"The model has no layer '{name}'.{hint} Its last ones are: {', '.join(names[-5:])}.")
    if _gives_probabilities(found[-1].operation):
        warnings.warn(
            f"The layer '{name}' puts out probabilities of the old classes, and the new head will stand on them. Say a "
            "layer before it as `features`.",
            stacklevel=3,
        )
    return found[-1].outputs[0]


def _below_the_head(model: keras_private.Functional) -> keras.KerasTensor:
    """The tensor that the new head takes: what the old one took, or what the model puts out if it has none."""
    last, probabilities = _last_with_weights(model)
    layer = last.operation
    if isinstance(layer, keras.layers.Dense):
        return last.inputs[0]
    if not probabilities:
        return model.outputs[0]
    if isinstance(layer, (keras_private.Functional, keras.Sequential)):
        inner = as_functional(layer)
        return keras.Model(inner.inputs, _below_the_head(inner), name=layer.name)(last.inputs[0])
    if len(last.inputs) != 1:
        raise ValueError(
            f"The model puts out probabilities, made by '{layer.name}' of {len(last.inputs)} inputs, and a new head stands "
            "on features. Say after which layer it comes: `features`."
        )
    return last.inputs[0]


def _last_with_weights(model: keras_private.Functional) -> tuple[keras_private.Call, bool]:
    """The last call with weights, or with several inputs; and whether what it puts out becomes probabilities."""
    made_by = {id(call.outputs[0]): call for call in keras_private.graph_of(model).calls}
    call = made_by[id(model.outputs[0])]
    probabilities = _gives_probabilities(call.operation)
    while not call.variables and len(call.inputs) == 1 and id(call.inputs[0]) in made_by:
        call = made_by[id(call.inputs[0])]
        probabilities = probabilities or _gives_probabilities(call.operation)
    if isinstance(call.operation, (keras_private.Functional, keras.Sequential)):
        probabilities = probabilities or _last_with_weights(as_functional(call.operation))[1]
    return call, probabilities


def _gives_probabilities(operation: keras.Operation) -> bool:
    activation = getattr(getattr(operation, "activation", None), "__name__", "")
    return activation in PROBABILITIES or type(operation).__name__.lower() in PROBABILITIES


def free_name(model: keras_private.Functional, name: str) -> str:
    """`name`, with `new_` in front as often as the model has such a layer already."""
    taken = {operation.name for operation in model.operations}
    while name in taken:
        name = f"new_{name}"
    return name


def after_vectorization(model: keras.Model) -> tuple[keras.layers.TextVectorization, keras.Model]:
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


def _with_short_integers(model: keras_private.Functional) -> keras.Model:
    """The same layers behind an input of int32 in place of int64, which JAX does not have and would warn about."""
    given = model.inputs[0]
    if keras.backend.standardize_dtype(given.dtype) != "int64":
        return model
    inputs = keras.Input(batch_shape=given.shape, dtype="int32")
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=lambda layer: layer)
