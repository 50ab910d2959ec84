"""`new_head`: a new last layer on a pretrained model; `after_vectorization`: a text model that takes token ids."""

import warnings

import keras

from difflr import keras_private
from difflr.checks import did_you_mean

# As in torchvision's MobileNetV2. Features of a pretrained body may be large, and with Keras's own kernel probabilities
# would begin at 0 and 1, where gradients vanish.
KERNEL_STDDEV = 0.01
POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}
PROBABILITIES = ("softmax", "sigmoid")  # names of activations, layers and functions


def new_head(
    model: keras.Model,
    num_classes: int,
    *,
    features: str | None = None,
    activation: str | None = "softmax",
    name: str = "head",
) -> keras.Model:
    """Put a new head on `model`, for other classes.

    The new kernel is small (standard deviation 0.01), so that all classes are about equally probable before training.

    The new head replaces the last layer with weights if that is `Dense`, or if its outputs become probabilities by a
    softmax or sigmoid, also in a nested model. Otherwise it goes after the whole model. Feature maps are reduced by global
    average pooling first. Layers are shared with `model`: training one trains the other.

    Args:
        model: A functional or Sequential model, built, with one output.
        num_classes: Integer. Outputs of the new layer, at least 2; or 1 without softmax.
        features: The name of the layer whose output feeds the new head; later layers are dropped.
        activation: As in `keras.layers.Dense`.
        name: The new layer's name; `new_<name>` if it is taken.

    Returns:
        A functional model, not compiled.

    Raises:
        ValueError: If the model is not functional or Sequential, has several outputs or no layer `features`; or if its
            output is neither features nor feature maps, or probabilities of unclear origin.

    Warns:
        UserWarning: If the layer `features` outputs probabilities.

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
        raise ValueError(f"A new head needs a model with one output. Received: {len(model.outputs)} outputs.")
    x = _below_the_head(model) if features is None else _output_of(model, features)
    if len(x.shape) in POOLING:
        x = POOLING[len(x.shape)](name=free_name(model, "pool"))(x)
    if len(x.shape) != 2:
        raise ValueError(f"A new head needs features of shape (batch, number). Received: {x.shape}. Set `features`.")
    small = keras.initializers.RandomNormal(stddev=KERNEL_STDDEV)
    outputs = keras.layers.Dense(
        num_classes, activation=activation, kernel_initializer=small, name=free_name(model, name)
    )(x)
    return keras.Model(model.input, outputs, name=model.name)


def as_functional(model: keras.Model) -> keras_private.Functional:
    """`model`, or a functional model with its layers if it is Sequential.

    Raises:
        ValueError: If it is neither or not built.
    """
    if isinstance(model, keras.Sequential) and model.built:
        inputs = keras.Input(batch_shape=model.inputs[0].shape, dtype=model.inputs[0].dtype)
        x = inputs
        for layer in model.layers:
            x = layer(x)
        return keras.Model(inputs, x, name=model.name)
    if not isinstance(model, keras_private.Functional):
        raise ValueError(
            f"Expected a built functional or Sequential model. Received: {type(model).__name__} '{model.name}'."
        )
    return model


def _output_of(model: keras_private.Functional, name: str) -> keras.KerasTensor:
    """The output of the layer with this name."""
    calls = keras_private.graph_of(model).calls
    found = [call for call in calls if call.operation.name == name]
    if not found:
        names = [call.operation.name for call in calls]
        hint = did_you_mean(name, names)
        raise ValueError(f"The model has no layer '{name}'.{hint} Its last layers: {', '.join(names[-5:])}.")
    if _gives_probabilities(found[-1].operation):
        warnings.warn(
            f"The layer '{name}' outputs probabilities of the old classes, which feed the new head. Choose a "
            "layer before it as `features`.",
            stacklevel=3,
        )
    return found[-1].outputs[0]


def _below_the_head(model: keras_private.Functional) -> keras.KerasTensor:
    """The input of the new head: the input of the old head, or the model's output if it has none."""
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
            f"The model outputs probabilities, computed by '{layer.name}' from {len(last.inputs)} inputs, but a new head "
            "needs features. Name the layer to put it on: `features`."
        )
    return last.inputs[0]


def _last_with_weights(model: keras_private.Functional) -> tuple[keras_private.Call, bool]:
    """The last call with weights or several inputs, and whether its outputs become probabilities."""
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
    """`name`, prefixed with `new_` until no layer of the model has that name."""
    taken = {operation.name for operation in model.operations}
    while name in taken:
        name = f"new_{name}"
    return name


def after_vectorization(model: keras.Model) -> tuple[keras.layers.TextVectorization, keras.Model]:
    """Split a text model into its TextVectorization layer and the model after it, which takes token ids.

    Only TensorFlow has string tensors, so texts are converted once before training. Layers are shared with `model`: training
    one trains the other.

    Args:
        model: A functional or Sequential model with one input of strings.

    Returns:
        The layer, to call on an array of strings, and a functional model that takes its output.

    Raises:
        ValueError: If the model has no such layer after its input.
    """
    model = as_functional(model)
    for call in keras_private.graph_of(model).calls:
        if isinstance(call.operation, keras.layers.TextVectorization) and call.inputs[0] is model.inputs[0]:
            rest = keras.Model(call.outputs[0], model.outputs, name=model.name)
            return call.operation, _with_short_integers(rest)
    raise ValueError(
        f"{type(model).__name__} '{model.name}' takes no texts: it has no TextVectorization layer after its input. "
        "Add one, or convert the texts to numbers and pass an .npz file."
    )


def _with_short_integers(model: keras_private.Functional) -> keras.Model:
    """The same layers with an int32 input instead of int64, which JAX lacks and would warn about."""
    given = model.inputs[0]
    if keras.backend.standardize_dtype(given.dtype) != "int64":
        return model
    inputs = keras.Input(batch_shape=given.shape, dtype="int32")
    return keras.models.clone_model(model, input_tensors=inputs, clone_function=lambda layer: layer)
