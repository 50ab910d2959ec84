"""The comparison: one network, one budget, three ways to set the learning rates. Returns numbers, prints nothing.

Every method tries the same number of base rates, a factor of two apart, with all seeds. The rate with the best mean
validation accuracy is chosen, and its test accuracy counts. One seed is too few to choose: validation accuracy varies
by several points between seeds. Epochs, batch size, schedule, optimizer and images are the same for all.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

import difflr
from difflr.demo import squeezenet
from difflr.demo.digits import split

IMAGE_SIZE = 64
BATCH_SIZE = 32

# The plan: the last part of the backbone at 0.3 of the head's rate, every earlier part at 0.7 of the next.
TOP_OF_BODY = 0.3
DECAY = 0.7
PARTS = ["conv1", *(f"fire{number}_*" for number in squeezenet.FIRES)]
LAYER_BY_LAYER = {
    f"squeezenet/{part}": round(TOP_OF_BODY * DECAY**distance, 4) for distance, part in enumerate(reversed(PARTS))
}


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to set the learning rates.

    Args:
        name: The display name.
        rules: The rules of its `difflr.Plan`; `None` trains with the plain Keras optimizer.
        learning_rates: The base rates to choose from.
    """

    name: str
    rules: Mapping[str, Any] | None
    learning_rates: tuple[float, ...]


METHODS = (
    Method("one rate for all", None, (2e-4, 4e-4, 8e-4)),
    Method("head only", {"squeezenet": difflr.FROZEN}, (1e-2, 2e-2, 4e-2)),
    Method("layer by layer", LAYER_BY_LAYER, (2e-3, 4e-3, 8e-3)),
)


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run from the pretrained weights, with its accuracies.

    Args:
        method: The method's name.
        learning_rate: The base rate at the start.
        seed: The seed for the image selection, the new head and the batch order.
        validation: Validation accuracy, 0..1.
        test: Test accuracy, 0..1.
        seconds: The training time.
    """

    method: str
    learning_rate: float
    seed: int
    validation: float
    test: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The results of a method.

    Args:
        method: The method.
        search: All runs, every base rate with every seed.
        plan: Its plan.
    """

    method: Method
    search: Sequence[Run]
    plan: difflr.Plan

    @property
    def validation(self) -> dict[float, float]:
        """Base rate -> mean validation accuracy over the seeds."""
        rates = dict.fromkeys(run.learning_rate for run in self.search)
        return {rate: float(np.mean([r.validation for r in self.search if r.learning_rate == rate])) for rate in rates}

    @property
    def learning_rate(self) -> float:
        """The base rate with the best mean validation accuracy; ties go to the lowest. Ignores test accuracy."""
        means = self.validation
        return max(means, key=lambda learning_rate: (means[learning_rate], -learning_rate))

    @property
    def runs(self) -> list[Run]:
        """The runs with the chosen rate, one per seed."""
        return [run for run in self.search if run.learning_rate == self.learning_rate]

    @property
    def accuracies(self) -> list[float]:
        """The test accuracy of each seed."""
        return [run.test for run in self.runs]

    @property
    def mean(self) -> float:
        """The mean test accuracy."""
        return float(np.mean(self.accuracies))

    @property
    def spread(self) -> float:
        """The standard deviation of the test accuracy over the seeds; 0 for a single seed."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.accuracies) > 1 else 0.0

    @property
    def rates(self) -> dict[str, float]:
        """Layer-tree path -> effective rate at the start, 0 where frozen, in the order of the model."""
        return {row.path: row.multiplier * self.learning_rate for row in self.plan.rows}


def build_model(weights: Mapping[str, list[np.ndarray]], num_classes: int = 10) -> keras.Model:
    """The pretrained SqueezeNet with a new head, for gray images of 28 x 28.

    Args:
        weights: The result of `squeezenet.read_weights`.
        num_classes: The number of logits.

    Returns:
        A model from `(batch, 28, 28, 1)` in 0..255 to `(batch, num_classes)` logits. Its parts are named
        `"squeezenet"` and `"head"`.
    """
    inputs = keras.Input((28, 28, 1))
    x = layers.Resizing(IMAGE_SIZE, IMAGE_SIZE, interpolation="bicubic", name="resize")(inputs)
    x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = squeezenet.build((IMAGE_SIZE, IMAGE_SIZE), weights)(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(num_classes, name="head")(x), name="digits")


class Trainer:
    """Train one method's model repeatedly from the pretrained weights, compiled once.

    Args:
        model: A model from `build_model`.
        method: The method with the optimizer and plan.
        epochs: The epochs of every run.
    """

    def __init__(self, model: keras.Model, method: Method, epochs: int):
        self.model, self.method, self.epochs = model, method, epochs
        self.plan = difflr.Plan(model, method.rules)
        rate = method.learning_rates[0]
        if method.rules is None:
            optimizer = keras.optimizers.Adam(rate)
        else:
            optimizer = difflr.optimizers.Adam(rate, multipliers=self.plan)  # type: ignore[attr-defined]
        model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        optimizer.build(model.trainable_variables)
        self._fresh = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in [*model.variables, *optimizer.variables]]
        # Compile with an empty batch: Keras's first `fit` shuffles once more than later ones.
        nothing = np.zeros((BATCH_SIZE, *model.input_shape[1:]), "float32")
        model.fit(nothing, np.zeros(BATCH_SIZE, "int32"), batch_size=BATCH_SIZE, verbose=0)

    def run(self, images: np.ndarray, labels: np.ndarray, learning_rate: float, seed: int) -> Run:
        """Fine-tune with one base rate and one seed, and measure accuracy.

        Args:
            images: All images, `(num_images, 28, 28, 1)` in 0..255.
            labels: Their labels, `(num_images,)`.
            learning_rate: The initial base rate; it follows a cosine, epoch by epoch.
            seed: The seed for the image selection, the head and the batch order.
        """
        start = time.perf_counter()
        parts = split(labels, seed)
        self._reset(seed)
        cosine = keras.callbacks.LearningRateScheduler(
            lambda epoch, _: learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        )
        x, y = images[parts.train].astype("float32"), labels[parts.train]
        self.model.fit(x, y, epochs=self.epochs, batch_size=BATCH_SIZE, verbose=0, callbacks=[cosine])
        validation, test = (self._accuracy(images[part], labels[part]) for part in (parts.validation, parts.test))
        return Run(self.method.name, learning_rate, seed, validation, test, time.perf_counter() - start)

    def _reset(self, seed: int) -> None:
        """Reset to pretrained weights, a fresh optimizer, and a new head from the seed."""
        keras.utils.set_random_seed(seed)
        for variable, value in self._fresh:
            variable.assign(value)
        kernel = self.model.get_layer("head").kernel
        kernel.assign(keras.initializers.GlorotUniform(seed)(kernel.shape))

    def _accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        logits = self.model.predict(images.astype("float32"), batch_size=100, verbose=0)
        return float(np.mean(logits.argmax(1) == labels))


def run_comparison(
    images: np.ndarray,
    labels: np.ndarray,
    weights: Mapping[str, list[np.ndarray]],
    epochs: int,
    seeds: Sequence[int],
    methods: Sequence[Method] = METHODS,
    on_run: Callable[[str], None] = lambda description: None,
) -> list[Outcome]:
    """Run all methods with the same budget.

    Args:
        images: The images, `(num_images, 28, 28, 1)` in 0..255.
        labels: Their labels, `(num_images,)`.
        weights: The pretrained weights, as `squeezenet.read_weights` returns them.
        epochs: The epochs of every run.
        seeds: The seeds, the same for every method.
        methods: The methods to compare.
        on_run: Called with a description before every run.

    Returns:
        One outcome per method, in order.
    """
    outcomes = []
    for method in methods:
        trainer = Trainer(build_model(weights), method, epochs)
        search = []
        for learning_rate in method.learning_rates:
            for seed in seeds:
                on_run(f"{method.name}, base rate {learning_rate:g}, seed {seed}")
                search.append(trainer.run(images, labels, learning_rate, seed))
        outcomes.append(Outcome(method, search, trainer.plan))
    return outcomes


def as_json(outcomes: Sequence[Outcome], epochs: int) -> dict[str, Any]:
    """All numbers of a comparison, ready for `json.dump`.

    Args:
        outcomes: The result of `run_comparison`.
        epochs: The epochs of every run.
    """
    return {
        "difflr": difflr.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "budget": {"epochs": epochs, "seeds": [run.seed for run in outcomes[0].runs], "batch_size": BATCH_SIZE},
        "rates chosen by": "mean validation accuracy over the seeds",
        "methods": [
            {
                "name": outcome.method.name,
                "rules": {path: str(value) for path, value in (outcome.method.rules or {}).items()},
                "learning_rate": outcome.learning_rate,
                "mean": outcome.mean,
                "spread": outcome.spread,
                "search": [dataclasses.asdict(run) for run in outcome.search],
                "runs": [dataclasses.asdict(run) for run in outcome.runs],
                "rates": outcome.rates,
            }
            for outcome in outcomes
        ],
    }
