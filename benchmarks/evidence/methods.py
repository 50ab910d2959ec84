"""The methods: ways to set the learning rates while a model is fine-tuned, all within the same number of epochs.

All have the same optimizer, AdamW, and the same schedule, a warm-up over a tenth and a cosine, except where a method
brings its own. The rates that each method tries first were written down before the first run.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import difflr
from benchmarks.evidence.tasks import Data, Task
from difflr.schedules import Joined, SlantedTriangular, WarmupCosine

WEIGHT_DECAY = 0.01
LAYERWISE_DECAY = 0.75
# All rates that a method may try, a factor of about three apart; each begins with three of them.
LADDER = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
LOW, MIDDLE, HIGH = LADDER[3:6], LADDER[4:7], LADDER[5:8]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@dataclasses.dataclass(frozen=True)
class Job:
    """One model to be trained.

    Args:
        task: What it is.
        data: Its data.
        model: The model, fresh.
        learning_rate: The base rate; `None` for methods that choose one.
        head_rate: The rate that was chosen for the head alone, for methods that begin with it.
    """

    task: Task
    data: Data
    model: keras.Model
    learning_rate: float | None
    head_rate: float | None = None

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.data.train[1]) / self.task.batch_size)

    @property
    def epochs(self) -> int:
        return self.task.epochs

    def schedule(self, learning_rate: float, epochs: int) -> WarmupCosine:
        steps = epochs * self.steps_per_epoch
        return WarmupCosine(learning_rate, steps, warmup_steps=steps // 10)

    def fit(self, learning_rate: Any, plan: Any = None, *callbacks: keras.callbacks.Callback) -> None:
        optimizer = difflr.optimizers.AdamW(learning_rate, weight_decay=WEIGHT_DECAY, multipliers=plan)
        self.model.compile(optimizer, loss=LOSS)
        settings = {"epochs": self.epochs, "batch_size": self.task.batch_size, "verbose": 0}
        self.model.fit(*self.data.train, **settings, callbacks=list(callbacks))

    def fine_tune(self, **settings: Any) -> Any:
        """`difflr.fine_tune`; the epochs of the head come out of the same number."""
        epochs = {"epochs": self.epochs - 1, "freeze_epochs": 1}
        return difflr.fine_tune(
            self.model, *self.data.train, **epochs, batch_size=self.task.batch_size, loss=LOSS, verbose=0, **settings
        )


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to fine-tune.

    Args:
        train: Trains the job's model; what it returns is kept with the run.
        about: What it is, for the page.
        learning_rates: The base rates to try first; none where the method chooses.
        needs_head_rate: Whether it begins with the head alone, at the rate that was chosen for "head only".
        tasks: The tasks it is for; `None` for all.
    """

    train: Callable[[Job], Any]
    about: str
    learning_rates: tuple[float, ...] = ()
    needs_head_rate: bool = False
    tasks: tuple[str, ...] | None = None

    @property
    def by_hand(self) -> bool:
        """Whether its rate is searched by hand, on validation data."""
        return bool(self.learning_rates)


def one_rate(job: Job) -> None:
    job.fit(job.schedule(job.learning_rate, job.epochs))


def head_first(job: Job) -> None:
    job.fine_tune(learning_rate=job.learning_rate, plan=difflr.no_decay(job.model), optimizer=_plain_adamw())


def head_first_frozen(job: Job) -> None:
    plan = difflr.no_decay(job.model) * difflr.Plan(job.model, {"norm*": difflr.FROZEN})
    job.fine_tune(learning_rate=job.learning_rate, plan=plan, optimizer=_plain_adamw())


def _plain_adamw() -> keras.optimizers.Optimizer:
    """Without the clipping of `fine_tune`'s own."""
    return keras.optimizers.AdamW(weight_decay=WEIGHT_DECAY)


def head_only(job: Job) -> None:
    plan = difflr.head_and_backbone(job.model, 0)
    job.fit(job.schedule(job.learning_rate, job.epochs), plan)


def layerwise(job: Job) -> None:
    job.fit(job.schedule(job.learning_rate, job.epochs), difflr.layerwise_decay(job.model, LAYERWISE_DECAY))


def head_then_all(job: Job) -> None:
    half = job.epochs // 2
    schedules = [job.schedule(job.head_rate, half), job.schedule(job.learning_rate, job.epochs - half)]
    phases = difflr.phases.head_first(job.model, epochs=half)
    job.fit(Joined(schedules, [half * job.steps_per_epoch]), None, difflr.PhaseScheduler(phases))


def ulmfit(job: Job) -> None:
    """While groups unfreeze there is a triangle for each epoch, then one for the rest, as in AllenNLP."""
    groups = [*map(list, job.task.groups), ["head"]]
    rates = {pattern: 2.6 ** (place - len(groups) + 1) for place, group in enumerate(groups) for pattern in group}
    steps, unfreezing = job.steps_per_epoch, len(groups) - 1
    triangles = [SlantedTriangular(job.learning_rate, steps)] * unfreezing
    triangles.append(SlantedTriangular(job.learning_rate, (job.epochs - unfreezing) * steps))
    schedule = Joined(triangles, [steps * number for number in range(1, unfreezing + 1)])
    phases = difflr.phases.top_down(job.model, groups=groups)
    job.fit(schedule, difflr.Plan(job.model, rates), difflr.PhaseScheduler(phases))


def fine_tune(job: Job) -> dict[str, Any]:
    settings = job.fine_tune().settings
    return {"chosen": settings.learning_rate, "normalization": settings.normalization}


def choice(job: Job) -> dict[str, Any]:
    """`fine_tune` with "auto"; it sees the training data alone, and searches in addition to the epochs of the run."""
    found = job.fine_tune(learning_rate="auto").choice
    return {
        "chosen": found.learning_rate,
        "left_constants": found.is_measured,
        "search_runs": round(found.cost.runs, 2),
    }


def finder(job: Job) -> dict[str, Any]:
    """fastai's `lr_find` and its `valley`, then one rate; the lowest rate where there is no valley."""
    curve = difflr.find_learning_rate(job.model, *job.data.train, loss=LOSS, batch_size=job.task.batch_size)
    chosen = curve.valley or LADDER[0]
    one_rate(dataclasses.replace(job, learning_rate=chosen))
    return {"chosen": chosen, "search_steps": len(curve.losses)}


def l_dog(job: Job) -> None:
    """L-DoG (Ivgi et al., 2023): rates from distances and gradients, no rate to choose, with averaged weights."""
    import torch

    model, parameters = job.model, [variable.value for variable in job.model.trainable_variables]
    x, y = job.data.train
    generator, steps = np.random.default_rng(0), job.epochs * job.steps_per_epoch
    first = [parameter.detach().clone() for parameter in parameters]
    average = [parameter.detach().clone() for parameter in parameters]
    farthest = [1e-6 * (1 + float(parameter.norm())) for parameter in first]
    squares, order = [1e-8] * len(parameters), np.empty(0, int)
    for step in range(steps):
        if len(order) == 0:
            order = generator.permutation(len(y))
        batch, order = order[: job.task.batch_size], order[job.task.batch_size :]
        model.zero_grad()
        LOSS(torch.as_tensor(y[batch]), model(torch.as_tensor(x[batch]), training=True)).backward()
        keep = min(1.0, 8.0 / (step + 8))  # polynomial decay averaging, gamma = 8
        with torch.no_grad():
            for number, parameter in enumerate(parameters):
                if parameter.grad is None:
                    continue
                farthest[number] = max(farthest[number], float((parameter - first[number]).norm()))
                squares[number] += float(parameter.grad.norm()) ** 2
                parameter -= farthest[number] / math.sqrt(squares[number]) * parameter.grad
                average[number] += keep * (parameter - average[number])
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)


class AutoRGN(keras.callbacks.Callback):
    """Each layer's rate by its kernel's gradient over its kernel, over the highest of these; anew each epoch.

    With biases included the measure is useless: the first bias would be the maximum.
    """

    def __init__(self, job: Job):
        super().__init__()
        self.job = job

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        kernels = [v for v in self.model.trainable_variables if len(v.shape) > 1]
        ratios = self._ratios(kernels)
        most = max(ratios) or 1.0  # of a network that has died all are 0
        by_layer = {v.path.rpartition("/")[0]: ratio / most for v, ratio in zip(kernels, ratios, strict=True)}
        rules = [(v, by_layer.get(v.path.rpartition("/")[0], 1.0)) for v in self.model.trainable_variables]
        difflr.replan(self.model, difflr.Plan(self.model, [(v, max(factor, 1e-4)) for v, factor in rules]))

    def _ratios(self, kernels: list[keras.Variable]) -> list[float]:
        import torch

        x, y = self.job.data.train
        some = np.random.default_rng(0).permutation(len(y))[:64]
        loss = LOSS(torch.as_tensor(y[some]), self.model(torch.as_tensor(x[some]), training=False))
        found = torch.autograd.grad(loss, [kernel.value for kernel in kernels])
        with torch.no_grad():
            norms = [
                (float(gradient.norm()), float(kernel.value.norm()))
                for gradient, kernel in zip(found, kernels, strict=True)
            ]
        return [gradient / size for gradient, size in norms]


def auto_rgn(job: Job) -> None:
    job.fit(job.schedule(job.learning_rate, job.epochs), difflr.Plan(job.model), AutoRGN(job))


METHODS = {
    "one rate": Method(one_rate, "everything at one rate", LOW),
    "one rate, head first": Method(head_first, "the head for an epoch, then everything at one rate", MIDDLE),
    "the same, BatchNorm frozen": Method(
        head_first_frozen,
        '"one rate, head first" with BatchNormalization frozen',
        MIDDLE,
        tasks=("both shifts, BatchNorm", "long, BatchNorm"),
    ),
    "head only": Method(head_only, "the backbone frozen", HIGH),
    "layer-wise decay": Method(layerwise, "`layerwise_decay(model, 0.75)`", MIDDLE),
    "LP-FT": Method(
        head_then_all,
        "the head for half of the epochs, then everything at one rate (Kumar et al., 2022)",
        LOW,
        needs_head_rate=True,
    ),
    "ULMFiT": Method(
        ulmfit,
        "each group 2.6 times slower than the one above, one more unfrozen each epoch (Howard and Ruder, 2018)",
        MIDDLE,
    ),
    "Auto-RGN": Method(auto_rgn, "rates by relative gradient norms (Lee et al., 2023)", MIDDLE),
    "finder, one rate": Method(finder, "fastai's `lr_find`, then everything at that rate"),
    "L-DoG": Method(l_dog, "rates from distances and gradients of each layer (Ivgi et al., 2023)"),
    "fine_tune": Method(fine_tune, "`difflr.fine_tune` with its defaults"),
    "choice": Method(choice, '`difflr.fine_tune` with `learning_rate="auto"`'),
}
