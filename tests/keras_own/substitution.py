"""A pytest plugin: where Keras's own tests name an optimizer of Keras, they get difflr's.

With `DIFFLR_MULTIPLIER=2` each is made with the multiplier 2 and half the rate. A power of two is exact, so that nothing
but `optimizer.learning_rate` itself may differ.
"""

import importlib
import inspect
import os
import sys

import keras

import difflr
from difflr.optimizers.differential import optimizer_classes
from difflr.optimizers.differential_optimizer import DifferentialOptimizer

MULTIPLIER = float(os.environ.get("DIFFLR_MULTIPLIER", "1"))
SCHEDULES = keras.optimizers.schedules


@keras.saving.register_keras_serializable(package="keras_own")
class Divided(SCHEDULES.LearningRateSchedule):
    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, step):
        return self.schedule(step) / MULTIPLIER

    def get_config(self):
        return {"schedule": keras.saving.serialize_keras_object(self.schedule)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["schedule"]))


def divided(rate):
    if isinstance(rate, SCHEDULES.LearningRateSchedule):
        return Divided(rate)
    return (lambda: rate() / MULTIPLIER) if callable(rate) else rate / MULTIPLIER


def init(self, *args, multipliers=None, **settings):
    if multipliers is None:
        multipliers = MULTIPLIER
        names = inspect.signature(type(self)).parameters
        settings = {**dict(zip(names, args, strict=False)), **settings}
        args = ()
        settings["learning_rate"] = divided(settings.get("learning_rate", names["learning_rate"].default))
    own_init(self, *args, multipliers=multipliers, **settings)


own_init = DifferentialOptimizer.__init__
if MULTIPLIER != 1:
    DifferentialOptimizer.__init__ = init

if keras.backend.backend() == "torch":
    # It swaps the exact classes that it finds in `optimizers`; ours are made of the swapped ones already.
    importlib.import_module("keras.src.backend.torch.optimizers.torch_optimizer").optimizers = keras.optimizers
ours = {cls: getattr(difflr.optimizers, name) for name, cls in optimizer_classes().items()}
for module in [each for name, each in sys.modules.items() if name.startswith("keras.src.")]:
    for name, value in list(vars(module).items()):
        if inspect.isclass(value) and value in ours and ".torch.optimizers" not in module.__name__:
            setattr(module, name, ours[value])
names = keras.src.optimizers.ALL_OBJECTS_DICT
names.update({name: ours.get(cls, cls) for name, cls in names.items()})
