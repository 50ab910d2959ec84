"""What becomes of the ratios under callbacks, and of a clip norm."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import difflr
from benchmarks.twelve_checks import effects
from benchmarks.twelve_checks.check import FAILED, PASSED, PLAIN, Check, Outcome
from benchmarks.twelve_checks.targets import multi


def two_rates(rate: float = 0.5, **settings: Any) -> keras.optimizers.Optimizer:
    """Keras: `body` at a tenth of the rate."""
    slow, fast = (keras.optimizers.SGD(each, **settings) for each in (0.1 * rate, rate))
    return multi(fast, {"body/.*": slow})


def a_plan(model: keras.Model, rate: float = 0.5, **settings: Any) -> keras.optimizers.Optimizer:
    """difflr: the same."""
    return difflr.optimizers.SGD(rate, multipliers=difflr.Plan(model, {"body": 0.1}), **settings)


def judged(asked: list[float], epochs: list[dict[str, float]], tolerance: float) -> Outcome:
    """Whether `head` moved at the rates asked for, and `body` at a tenth of them, in each epoch."""
    right = all(
        abs(epoch["head"] - rate) <= tolerance * rate and abs(epoch["body"] - 0.1 * rate) <= 0.1 * tolerance * rate
        for rate, epoch in zip(asked, epochs, strict=True)
    )
    seen = ", ".join(f"{epoch['body']:.3g} / {epoch['head']:.3g}" for epoch in epochs)
    told = ", ".join(f"{0.1 * rate:.3g} / {rate:.3g}" for rate in asked)
    return Outcome(PASSED if right else FAILED, f"body / head in each epoch: {seen}; asked {told}")


# -- mixed_float16 and ReduceLROnPlateau ------------------------------------------------------------------------------


def plateau_trial(compile: Callable[[keras.Model], None]) -> Outcome:
    # Nothing is an improvement: the rate is to fall after the second epoch.
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.1, patience=1, cooldown=5, min_delta=1e9)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        epochs = effects.epochs_of(compile, 3, [plateau])
    finally:
        keras.config.set_dtype_policy(before)
    return judged([0.5, 0.5, 0.05], epochs, tolerance=0.02)


PLATEAU = Check(
    "`mixed_float16` and `ReduceLROnPlateau`",
    "`body` at a tenth of the rate, in half precision with a loss scale. The callback divides the rate by ten after the "
    "second epoch; the ratio should stay.",
    plateau_trial,
    keras={
        PLAIN: {"compile": lambda model: model.compile(two_rates(), loss=effects.mean_output)},
        "a constant loss scale, `auto_scale_loss=False`": {
            "compile": lambda model: model.compile(constant_scale(), loss=effects.mean_output, auto_scale_loss=False)
        },
    },
    difflr={PLAIN: {"compile": lambda model: model.compile(a_plan(model), loss=effects.mean_output)}},
)


def constant_scale() -> keras.optimizers.Optimizer:
    slow, fast = keras.optimizers.SGD(0.05), keras.optimizers.SGD(0.5)
    optimizer_map = keras.optimizers.OptimizerMap(fast, {"body/.*": slow})
    return keras.optimizers.MultiOptimizer(optimizer_map, loss_scale_factor=1024.0)


# -- LearningRateScheduler --------------------------------------------------------------------------------------------


def scheduler_trial(compile: Callable[[keras.Model], None], schedule: Callable) -> Outcome:
    callback = keras.callbacks.LearningRateScheduler(schedule)
    return judged([0.5, 0.25, 0.125], effects.epochs_of(compile, 3, [callback]), tolerance=0.01)


def halved_by_epoch(epoch: int) -> float:
    return 0.5 ** (epoch + 1)


def halved_again(epoch: int, learning_rate: float) -> float:
    return 0.5 * learning_rate if epoch else learning_rate


SCHEDULER = Check(
    "`LearningRateScheduler` keeps the ratios",
    "`body` at a tenth of the rate; the callback sets 0.5, 0.25 and 0.125. The ratio should stay.",
    scheduler_trial,
    keras={
        PLAIN: {
            "compile": lambda model: model.compile(two_rates(), loss=effects.mean_output),
            "schedule": halved_by_epoch,
        },
        "a schedule that multiplies the rate it is given": {
            "compile": lambda model: model.compile(two_rates(), loss=effects.mean_output),
            "schedule": halved_again,
        },
    },
    difflr={
        PLAIN: {
            "compile": lambda model: model.compile(a_plan(model), loss=effects.mean_output),
            "schedule": halved_by_epoch,
        }
    },
)


# -- one clip norm ----------------------------------------------------------------------------------------------------


def clip_trial(make: Callable[[keras.Model], Any]) -> Outcome:
    model = effects.side_by_side()
    named = {name: model.get_layer(name).trainable_variables for name in ("body", "head")}
    moved = effects.one_step(make(model), model.trainable_variables, named, size=10.0)
    count = sum(int(np.prod(v.shape)) for v in named["body"])  # as many in either layer
    norm = float(np.sqrt(count * sum((moved[name] / rate) ** 2 for name, rate in (("body", 0.1), ("head", 1.0)))))
    return Outcome(PASSED if abs(norm - 1) < 1e-3 else FAILED, f"norm of the clipped gradient {norm:.4g}, asked 1")


CLIP = Check(
    "One clip norm over all groups",
    "`body` at a tenth of the rate, `global_clipnorm=1`, large gradients. The norm of the applied gradient (moves of the "
    "weights divided by their rates) should be 1 over both layers.",
    clip_trial,
    keras={PLAIN: {"make": lambda model: two_rates(1.0, global_clipnorm=1.0)}},
    difflr={PLAIN: {"make": lambda model: a_plan(model, 1.0, global_clipnorm=1.0)}},
)
