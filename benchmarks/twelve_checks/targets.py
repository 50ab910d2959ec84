"""Who gets which rate: a backbone by its name, a name that is not there, two rules for one variable."""

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import Any

import keras

import difflr
from benchmarks.twelve_checks import effects
from benchmarks.twelve_checks.check import FAILED, PASSED, PLAIN, Check, Outcome, first_line, ratios


def multi(default: Any, others: dict[str, Any] | Callable) -> keras.optimizers.Optimizer:
    """Keras's own way to several rates.

    Args:
        default: The optimizer of what nobody else takes.
        others: Regular expression for `variable.path` -> optimizer, or a function `variable -> optimizer`.
    """
    if callable(others):
        return keras.optimizers.MultiOptimizer(others)
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(default, others))


# -- a backbone by its name -------------------------------------------------------------------------------------------


def backbone_trial(make: Callable[[keras.Model], Any]) -> Outcome:
    backbone = keras.applications.MobileNet((32, 32, 3), alpha=0.25, include_top=False, weights=None, name="backbone")
    inputs = keras.Input((32, 32, 3))
    features = keras.layers.GlobalAveragePooling2D()(backbone(inputs))
    model = keras.Model(inputs, keras.layers.Dense(2, name="head")(features))
    named = {name: model.get_layer(name).trainable_variables for name in ("backbone", "head")}
    moved = effects.one_step(make(model), model.trainable_variables, named)
    return ratios({"backbone": 0.1, "head": 1.0}, moved)


def by_layer(layer: keras.Layer) -> keras.optimizers.Optimizer:
    """A function of the variable, which knows the layer's variables."""
    inside = set(map(id, layer.trainable_variables))
    slow, fast = keras.optimizers.SGD(0.1), keras.optimizers.SGD(1.0)
    return multi(None, lambda variable: slow if id(variable) in inside else fast)


BACKBONE = Check(
    "A `keras.applications` backbone by its name",
    "A MobileNet named `backbone` trains at a tenth of the head's rate. One SGD step, gradients and rate 1.",
    backbone_trial,
    keras={
        PLAIN: {"make": lambda model: multi(keras.optimizers.SGD(1.0), {"backbone/.*": keras.optimizers.SGD(0.1)})},
        "a function that knows the backbone's variables": {"make": lambda model: by_layer(model.get_layer("backbone"))},
    },
    difflr={
        PLAIN: {
            "make": lambda model: difflr.optimizers.SGD(1.0, multipliers=difflr.Plan(model, {"backbone": 0.1})),
        }
    },
)


# -- a name that is not there -----------------------------------------------------------------------------------------


def nothing_trial(make: Callable[[keras.Model], Any]) -> Outcome:
    model = effects.side_by_side()
    printed = io.StringIO()
    with warnings.catch_warnings(record=True) as warned, contextlib.redirect_stdout(printed):
        warnings.simplefilter("always")
        try:
            moved = effects.one_step(
                make(model), model.trainable_variables, {"body": model.get_layer("body").trainable_variables}
            )
        except Exception as error:
            if "bodi" not in str(error):
                raise
            return Outcome(PASSED, f"told before the first step: {first_line(error)}")
    said = [str(each.message) for each in warned] + [printed.getvalue()]
    if any("bodi" in text for text in said):
        return Outcome(PASSED, "told by a warning")
    return Outcome(FAILED, f"nothing was said; body moved {moved['body']:.3g}, at the rate of everything else")


NOTHING = Check(
    "A pattern that matches nothing",
    "The layer is `body`, the rule says `bodi`. An error or a warning should say so.",
    nothing_trial,
    keras={PLAIN: {"make": lambda model: multi(keras.optimizers.SGD(1.0), {"bodi/.*": keras.optimizers.SGD(0.1)})}},
    difflr={
        PLAIN: {"make": lambda model: difflr.optimizers.SGD(1.0, multipliers=difflr.Plan(model, {"bodi": 0.1}))},
    },
)


# -- two rules for one variable ---------------------------------------------------------------------------------------


def overlap_trial(make: Callable[[keras.Model], Any]) -> Outcome:
    model = effects.side_by_side()
    body, head = model.get_layer("body"), model.get_layer("head")
    named = {"body's kernel": [body.kernel], "biases": [body.bias, head.bias], "head's kernel": [head.kernel]}
    moved = effects.one_step(make(model), model.trainable_variables, named)
    return ratios({"body's kernel": 0.1, "biases": 2.0, "head's kernel": 1.0}, moved)


def overlapping(body: str) -> keras.optimizers.Optimizer:
    slow, fast = keras.optimizers.SGD(0.1), keras.optimizers.SGD(2.0)
    return multi(keras.optimizers.SGD(1.0), {body: slow, ".*/bias": fast})


OVERLAP = Check(
    "Overlapping rules",
    "`body` at 0.1, then all biases at 2: the second rule should win where both apply.",
    overlap_trial,
    keras={
        PLAIN: {"make": lambda model: overlapping("body/.*")},
        "patterns made disjoint by hand": {"make": lambda model: overlapping("body/kernel")},
    },
    difflr={
        PLAIN: {
            "make": lambda model: difflr.optimizers.SGD(
                1.0, multipliers=difflr.Plan(model, {"body": 0.1, "kind:bias": 2.0})
            ),
        }
    },
)
