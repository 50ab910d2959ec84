"""The methods: ways to set the learning rates while a model is fine-tuned, all within the same number of epochs.

All have the same optimizer, AdamW, and the same schedule, a warm-up and a cosine, except where a method brings its own.
The rates that each method tries first were written down before the first run; `fine_tune` runs with its defaults
too, which nobody chose for these pairs.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras

import difflr
from benchmarks.comparison.pairs import Data, Pair
from difflr.schedules import Joined, WarmupCosine

WEIGHT_DECAY = 0.01
LAYERWISE_DECAY = 0.75
# All rates that a method may try, a factor of about three apart; each begins with three of them.
LADDER = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
LOW, MIDDLE, HIGH = LADDER[2:5], LADDER[3:6], LADDER[5:8]


@dataclasses.dataclass(frozen=True)
class Task:
    """One model to be trained.

    Args:
        pair: What it is.
        data: Its data.
        model: The model, fresh.
        learning_rate: The base rate; `None` for methods that have one of their own.
        head_rate: The rate that was chosen for the head alone, for methods that begin with it.
    """

    pair: Pair
    data: Data
    model: keras.Model
    learning_rate: float | None
    head_rate: float | None = None

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.data.train[1]) / self.pair.batch_size)

    def schedule(self, learning_rate: float, epochs: int) -> WarmupCosine:
        steps = epochs * self.steps_per_epoch
        return WarmupCosine(learning_rate, steps, warmup_steps=steps // 10)

    def compile(self, learning_rate: Any, plan: Any = None) -> None:
        self.model.compile(
            difflr.optimizers.AdamW(learning_rate, weight_decay=WEIGHT_DECAY, multipliers=plan), loss=self.loss()
        )

    def loss(self) -> keras.losses.Loss:
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def fit(self, **kwargs: Any) -> None:
        settings = {"epochs": self.pair.epochs, "batch_size": self.pair.batch_size, "verbose": 0}
        self.model.fit(*self.data.train, **{**settings, **kwargs})


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to fine-tune.

    Args:
        train: Trains the task's model.
        learning_rates: The base rates to try first; none where the method has its own.
        needs_head_rate: Whether it begins with the head alone, at the rate that was chosen for "head only".
        pairs: The pairs it is for; `None` for all.
    """

    train: Callable[[Task], None]
    learning_rates: tuple[float, ...]
    needs_head_rate: bool = False
    pairs: tuple[str, ...] | None = None


def one_rate(task: Task) -> None:
    task.compile(task.schedule(task.learning_rate, task.pair.epochs))
    task.fit()


def head_only(task: Task) -> None:
    body = [pattern for group in task.pair.groups for pattern in group]
    plan = difflr.Plan(task.model, dict.fromkeys(body, difflr.FROZEN))
    task.compile(task.schedule(task.learning_rate, task.pair.epochs), plan)
    task.fit()


def head_then_all(task: Task) -> None:
    """LP-FT: half of the epochs for the head, at the rate that was best for it, then one rate for all."""
    half = task.pair.epochs // 2
    schedules = [task.schedule(task.head_rate, half), task.schedule(task.learning_rate, task.pair.epochs - half)]
    task.compile(Joined(schedules, [half * task.steps_per_epoch]))
    task.fit(callbacks=[difflr.PhaseScheduler(difflr.phases.head_first(task.model, epochs=half))])


def layerwise(task: Task) -> None:
    plan = difflr.layerwise_decay(task.model, LAYERWISE_DECAY)
    task.compile(task.schedule(task.learning_rate, task.pair.epochs), plan)
    task.fit()


def ulmfit(task: Task) -> None:
    """Each group at 1/2.6 of the rate of the one above; one unfreezes each epoch.

    While they unfreeze there is a triangle for each epoch, then one for the rest, as in AllenNLP's `SlantedTriangular`.
    """
    groups = [*map(list, task.pair.groups), [task.pair.head]]
    rates = {pattern: 2.6 ** (place - len(groups) + 1) for place, group in enumerate(groups) for pattern in group}
    each = task.steps_per_epoch
    unfreezing = len(groups) - 1
    triangles = [difflr.schedules.SlantedTriangular(task.learning_rate, each)] * unfreezing
    triangles.append(difflr.schedules.SlantedTriangular(task.learning_rate, (task.pair.epochs - unfreezing) * each))
    task.compile(
        Joined(triangles, [each * number for number in range(1, unfreezing + 1)]), difflr.Plan(task.model, rates)
    )
    task.fit(callbacks=[difflr.PhaseScheduler(difflr.phases.top_down(task.model, groups=groups))])


def fine_tune(task: Task) -> None:
    """With its defaults: the number of epochs is all it is told; or with the task's rate."""
    settings = {"epochs": task.pair.epochs - 1, "batch_size": task.pair.batch_size, "verbose": 0}
    if task.learning_rate is not None:
        settings["learning_rate"] = task.learning_rate
    difflr.fine_tune(task.model, *task.data.train, loss=task.loss(), **settings)


def first_group_only(task: Task) -> None:
    """Surgical fine-tuning where the inputs have changed: the first layer and nothing else."""
    task.compile(task.schedule(task.learning_rate, task.pair.epochs), difflr.surgical(task.model, 0))
    task.fit()


METHODS = {
    "one rate": Method(one_rate, LOW),
    "head only": Method(head_only, HIGH),
    "LP-FT": Method(head_then_all, LOW, needs_head_rate=True),
    "layerwise decay": Method(layerwise, MIDDLE),
    "ULMFiT": Method(ulmfit, MIDDLE),
    "fine_tune": Method(fine_tune, ()),
    "fine_tune, rate chosen": Method(fine_tune, MIDDLE),
    "first layer only": Method(first_group_only, MIDDLE, pairs=("corrupted",)),
}
