"""`declare_multipliers`: store a plan's multipliers in the layers themselves."""

import warnings
from typing import Any

import keras

from difflr import layers
from difflr.models import Model, Sequential
from difflr.plan import Plan
from difflr.text_table import counted

_ARGUMENTS = ("learning_rate_multiplier", "W_learning_rate_multiplier", "b_learning_rate_multiplier")


def declare_multipliers(plan: Plan, model: keras.Model) -> keras.Model:
    """Copy a model into one whose layers declare the plan's multipliers, so that they are saved with the model.

    Layers of `keras.layers` become those of `difflr.layers`: convolutions and `Dense` with `W_learning_rate_multiplier`
    and `b_learning_rate_multiplier`, the others with `learning_rate_multiplier`. A layer whose
    multipliers are all 1 does not change.

    Args:
        plan: A plan for the model.
        model: A built functional or Sequential model of Keras layers.

    Returns:
        A `difflr.Model` or `difflr.Sequential` with the weights of `model`, not compiled.

    Raises:
        ValueError: If the plan has schedules, which layers cannot declare, or multipliers for a layer that is not a Keras
            layer.

    Warns:
        UserWarning: If the plan has weight-decay multipliers: layers declare learning rates only.

    Example:

    ```python
    plan = difflr.Plan(model, {"backbone": 0.1, "kind:bias": 2.0})
    declaring = difflr.interop.declare_multipliers(plan, model)
    assert declaring.get_layer("head").get_config()["b_learning_rate_multiplier"] == 2.0
    assert difflr.Plan(declaring).multipliers.values() == plan.multipliers.values()
    ```

    Reference: Caffe, which stores the multipliers with the layer (`ParamSpec` in caffe.proto).
    """
    if any(row.schedule is not None for row in plan.rows):
        raise ValueError("The plan has schedules, which layers cannot declare. Keep the plan separately.")
    others = [row.path for row in plan.rows if row.hyperparameters or row.min_learning_rate]
    if others:
        raise ValueError(
            f"The plan sets hyperparameters or a lowest rate for {others[0]}, which layers cannot declare. Keep the plan "
            "separately."
        )
    decaying = [row.path for row in plan.rows if not row.frozen and row.weight_decay_multiplier != 1]
    if decaying:
        warnings.warn(
            f"Layers declare no weight decay: the multipliers of {counted(len(decaying), 'variable')} ({decaying[0]}, ...) "
            "stay in the plan only.",
            stacklevel=2,
        )
    copy = keras.models.clone_model(model, clone_function=lambda layer: _declaring(layer, plan), recursive=True)
    if isinstance(model, keras.Sequential):
        first = keras.Input(batch_shape=copy.input_shape, dtype=copy.inputs[0].dtype)
        copy = Sequential([first, *copy.layers], name=model.name)
    else:
        copy = Model(copy.input, copy.output, name=model.name)
    copy.set_weights(model.get_weights())
    return copy


def _declaring(layer: keras.Layer, plan: Plan) -> keras.Layer:
    """An unbuilt copy of the layer that declares the plan's multipliers for its weights."""
    config = {name: value for name, value in layer.get_config().items() if name not in _ARGUMENTS}
    if not any(variable in plan for variable in layer.variables):
        return type(layer).from_config(config)
    inside = {row.path: plan.row(row.variable) for row in Plan(layer).rows}
    multipliers = {path: 1.0 if row.frozen and _has_flag(layer) else row.multiplier for path, row in inside.items()}
    if set(multipliers.values()) == {1.0}:
        return type(layer).from_config(config)
    cls = getattr(layers, type(layer).__name__, None)
    if cls is None or not issubclass(cls, type(layer)):
        raise ValueError(
            f"The layer '{layer.name}' of class {type(layer).__name__} is not a Keras layer and cannot declare multipliers. "
            "Save the plan separately: plan.to_json()."
        )
    return cls.from_config({**config, **_arguments(cls, multipliers)})


def _has_flag(layer: keras.Layer) -> bool:
    """Whether `trainable = False` was set on the layer, which its config already contains."""
    return not layer.get_config().get("trainable", True)


def _arguments(cls: type, multipliers: dict[str, float]) -> dict[str, Any]:
    kernels = {value for path, value in multipliers.items() if path != "bias"}
    if not issubclass(cls, layers.DeclaresKernelAndBias) or len(kernels) > 1:
        return {"learning_rate_multiplier": multipliers}
    bias = {"b_learning_rate_multiplier": multipliers["bias"]} if "bias" in multipliers else {}
    return {"W_learning_rate_multiplier": kernels.pop(), **bias}
