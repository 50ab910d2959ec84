"""A pytest plugin: where Keras's own tests name an optimizer of Keras, they get difflr's."""

import importlib

import keras.src.optimizers

import difflr
from difflr.optimizers.make import optimizer_classes

for name, cls in optimizer_classes().items():
    ours = getattr(difflr.optimizers, name)
    setattr(importlib.import_module(cls.__module__), name, ours)
    keras.src.optimizers.ALL_OBJECTS_DICT[name.lower()] = ours
