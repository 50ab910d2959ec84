"""What is trained in each layout: one small model, its data, and the settings that have to work everywhere."""

import importlib.util
import json
import pathlib
import sys
import time
import traceback

import keras
import numpy as np

import difflr
from difflr import Phase

BATCH = 16
EPOCHS = 4
_numbers = np.random.default_rng(0)
X = _numbers.normal(size=(2 * BATCH, 8)).astype("float32")
Y = _numbers.normal(size=(2 * BATCH, 4)).astype("float32")
LAYERS = ("stem", "low", "middle", "high", "head")
VARIABLES = 2 * len(LAYERS)

RULES = {
    "stem": difflr.FROZEN,
    "low": 0.1,
    "middle": {"multiplier": 0.5, "weight_decay_multiplier": 0.0},
    "kind:bias": {"weight_decay_multiplier": 0.5},
}
PHASES = [Phase("head", epochs=1), Phase(["head", "high"], steps=3, warmup_steps=2), Phase("*")]
PHASES_ACCUMULATED = [Phase("head", epochs=1), Phase(["head", "high"], steps=1), Phase("*")]

DECAY = {"weight_decay": 0.1}
AVERAGES = {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3}
RESUMED = {**DECAY, "global_clipnorm": 0.05, "gradient_accumulation_steps": 2}
EVERYTHING = {**RESUMED, **AVERAGES}  # at the end of `fit` Keras puts the averages in the weights' place

OWN_NUMBERS = [
    difflr.Rule("low", multiplier=0.1, hyperparameters={"beta_2": 0.9, "clipnorm": 0.01}),
    difflr.Rule("high", hyperparameters={"beta_1": keras.optimizers.schedules.PolynomialDecay(0.5, 4, 0.9)}),
    difflr.Rule("kind:bias", hyperparameters={"weight_decay": 0.5}, min_learning_rate=0.02),
]

# Name -> (arguments for `trained`, the tolerance against one device).
CASES = {
    "groups": (DECAY, 1e-6),
    "clipped": ({**DECAY, "global_clipnorm": 0.05}, 1e-6),
    "accumulated": ({**DECAY, "gradient_accumulation_steps": 2}, 1e-6),
    "averaged": (AVERAGES, 1e-6),
    "everything": ({**EVERYTHING, "phases": PHASES_ACCUMULATED}, 1e-6),
    "hyperparameters": ({**RESUMED, "rules": OWN_NUMBERS}, 1e-6),
    "phases": ({**DECAY, "phases": PHASES}, 1e-6),
    "sgd": ({"optimizer": "SGD", "momentum": 0.9, **DECAY, "global_clipnorm": 0.05, "phases": PHASES}, 1e-6),
    "float16": ({**DECAY, "global_clipnorm": 0.05, "policy": "mixed_float16", "phases": PHASES}, 2e-3),
    "bfloat16": ({**DECAY, "policy": "mixed_bfloat16", "phases": PHASES}, 2e-2),
}
QUICK = ("everything",)


def network(kind=keras.Model):
    inputs = keras.Input((8,))
    x = inputs
    for name in LAYERS[:-1]:
        x = keras.layers.Dense(8, activation="tanh", name=name)(x)
    model = kind(inputs, keras.layers.Dense(4, name="head")(x))
    numbers = np.random.default_rng(1)
    model.set_weights([0.4 * numbers.normal(size=v.shape) for v in model.variables])
    return model


def compiled(optimizer="AdamW", rules=RULES, kind=keras.Model, stock=False, **settings):
    """The network with one of our optimizers, or with Keras's own."""
    model = network(kind)
    if not stock:
        settings["multipliers"] = difflr.Plan(model, rules)
    optimizer = getattr(keras.optimizers if stock else difflr.optimizers, optimizer)(0.01, **settings)
    if keras.config.dtype_policy().name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
    model.compile(optimizer, loss="mse", jit_compile=keras.backend.backend() == "jax")
    return model


def compiled_for_counting(groups, **arguments):
    """The network with so many groups, up to one for each variable; or with Keras's own optimizer (`"stock"`)."""
    names = [f"{layer}/{name}" for layer in LAYERS for name in ("kernel", "bias")]
    rules = {} if groups == "stock" else {name: 0.1 * (n + 1) for n, name in enumerate(names[: groups - 1])}
    return compiled(rules=rules, stock=groups == "stock", **DECAY, **arguments)


def fit(model, first=0, last=EPOCHS, phases=None, share=None, batch_size=BATCH):
    x, y = (X, Y) if share is None else (share(X), share(Y))
    settings = {"batch_size": batch_size, "shuffle": False, "verbose": 0}
    callbacks = [difflr.PhaseScheduler(phases)] if phases else []
    stop = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, _: setattr(model, "stop_training", epoch + 1 == last)
    )
    model.fit(x, y, initial_epoch=first, epochs=EPOCHS, callbacks=[*callbacks, stop], **settings)
    return model


def weights(model):
    return np.concatenate([np.array(keras.ops.convert_to_numpy(v)).ravel() for v in model.variables])


def distance(one, other):
    return float(np.abs(one - other).max())


def inner(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


def example(name):
    """An example of the guide, as a module."""
    file = pathlib.Path(__file__).parents[2] / "examples" / "distribution" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Checks:
    """Runs checks one after another and prints what they found, as JSON: what fails is told with its traceback.

    What is done is told on the standard error, too: of several processes one that fails leaves the others waiting.
    """

    def __init__(self):
        self.full = "full" in sys.argv
        self.found = {}

    def run(self, name, check, *arguments):
        try:
            self.found[name] = check(*arguments)
        except Exception:
            self.found[name] = traceback.format_exc()
            print(f"{name}: {self.found[name]}", file=sys.stderr)
        else:
            print(f"{time.process_time():.0f} s: {name}", file=sys.stderr)
        finally:
            keras.config.set_dtype_policy("float32")

    def cases(self, check):
        """`check(phases, settings)` for each case gives the distance of its weights from those of one device."""
        for name in CASES if self.full else QUICK:
            arguments = dict(CASES[name][0])
            keras.config.set_dtype_policy(arguments.pop("policy", "float32"))
            self.run(name, lambda arguments=arguments: check(arguments.pop("phases", None), arguments))

    def tell(self):
        print(json.dumps(self.found))
