"""Small networks, and everything about a model that training changes."""

import random

import keras
import numpy as np

from difflr.plan import freezing

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def clusters(number=96, seed=0, classes=3, width=6):
    """Examples around one point for each class."""
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(7).normal(size=(classes, width)) * 2
    y = np.arange(number) % classes
    return (centers[y] + rng.normal(size=(number, width))).astype("float32"), y.astype("int32")


def network(seed=0, classes=3, width=6, norm=True, dropout=0.1):
    keras.utils.set_random_seed(seed)
    layers = [keras.Input((width,)), keras.layers.Dense(8, activation="relu", name="stem")]
    layers += [keras.layers.BatchNormalization(name="norm")] if norm else []
    layers += [keras.layers.Dropout(dropout, name="dropout")] if dropout else []
    layers += [keras.layers.Dense(8, activation="relu", name="block"), keras.layers.Dense(classes, name="head")]
    model = keras.Sequential(layers)
    for layer in model.layers:  # as after pretraining: no bias is exactly 0
        if layer.name in ("stem", "block"):
            layer.bias.assign(np.full(layer.bias.shape, 0.01, "float32"))
    return model


def state_of(model):
    """All of it: values, flags, marks, attributes, random states."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else []), *model.metrics_variables]
    flags = [(layer.name, layer.trainable) for layer in model.layers]
    flags += [(v.path, v.trainable, freezing.was_marked(v)) for v in model.variables]
    random_states = [random.getstate(), str(np.random.get_state())]
    if keras.backend.backend() == "torch":
        import torch

        random_states += [torch.get_rng_state().tolist(), [layer.training for layer in model.layers]]
    return {
        "values": [np.array(keras.ops.convert_to_numpy(v)).tobytes() for v in variables],
        "flags": flags,
        "attributes": {name: id(value) for name, value in vars(model).items()},
        "built": bool(optimizer and optimizer.built),
        "random": random_states,
    }


def assert_unchanged(before, model):
    after = state_of(model)
    for name, value in before.items():
        assert after[name] == value, f"{name} changed"
