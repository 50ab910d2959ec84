"""The comparison: one network, one budget, three ways to set the learning rates. Returns numbers, prints nothing.

Every method tries the same number of base rates, a factor of two apart, with all seeds. The rate with the best mean
validation accuracy is chosen, and its test accuracy counts. One seed is too few to choose: validation accuracy varies
by several points between seeds. Epochs, batch size, schedule, optimizer and images are the same for all.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

import difflr
from difflr.demo import squeezenet
from difflr.demo.digits import Split, split

IMAGE_SIZE = 64
BATCH_SIZE = 32

# The plan: the last part of the backbone at 0.3 of the head's rate, every earlier part at 0.7 of the next.
TOP_OF_BODY = 0.3
DECAY = 0.7
PARTS = ["conv1", *(f"fire{number}" for number in squeezenet.FIRES)]
LAYER_BY_LAYER = {
    f"squeezenet/{part}{'_*' if part != 'conv1' else ''}": round(TOP_OF_BODY * DECAY**distance, 4)
    for distance, part in enumerate(reversed(PARTS))
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
        runs: The runs with the chosen rate, one per seed.
        plan: Its plan, or `None` for the plain optimizer.
        rates: Layer-tree path -> effective rate at the start, 0 where frozen, in the order of the model.
    """

    method: Method
    search: tuple[Run, ...]
    runs: tuple[Run, ...]
    plan: difflr.Plan | None
    rates: dict[str, float]

    @property
    def learning_rate(self) -> float:
        """The chosen base rate."""
        return self.runs[0].learning_rate

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
        return float(np.std(self.accuracies, ddof=1)) if len(self.runs) > 1 else 0.0


@dataclasses.dataclass(frozen=True)
class Budget:
    """The budget of every run.

    Args:
        epochs: The number of epochs.
        seeds: The seeds.
        batch_size: Images per step.
    """

    epochs: int
    seeds: tuple[int, ...]
    batch_size: int = BATCH_SIZE

    def num_epochs(self, methods: Sequence[Method] = METHODS) -> int:
        """The total number of epochs of a comparison of `methods`."""
        return self.epochs * len(self.seeds) * sum(len(method.learning_rates) for method in methods)


def build_model(weights: Mapping[str, list[np.ndarray]], num_classes: int = 10) -> keras.Model:
    """The pretrained SqueezeNet with a new head, for gray images of 28 x 28.

    Args:
        weights: The result of `squeezenet.read_weights`.
        num_classes: The number of logits.

    Returns:
        A model from `(batch, 28, 28, 1)` in 0..255 to `(batch, num_classes)` logits. Its parts are named
        `"squeezenet"` and `"head"`.
    """
    pictures = keras.Input((28, 28, 1))
    x = layers.Resizing(IMAGE_SIZE, IMAGE_SIZE, interpolation="bicubic", name="resize")(pictures)
    x = layers.Concatenate(name="grey_to_rgb")([x, x, x])
    x = squeezenet.load_imagenet(squeezenet.build((IMAGE_SIZE, IMAGE_SIZE, 3)), weights)(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pictures, layers.Dense(num_classes, name="head")(x), name="digits")


class Trainer:
    """Train one method's model repeatedly from the pretrained weights, compiled once.

    Args:
        model: A model from `build_model`.
        method: The method with the optimizer and plan.
        budget: Epochs, batch size and seeds.
    """

    def __init__(self, model: keras.Model, method: Method, budget: Budget):
        self.model, self.method, self.budget = model, method, budget
        self.plan = None if method.rules is None else difflr.Plan(model, method.rules)
        if self.plan is None:
            optimizer = keras.optimizers.Adam(method.learning_rates[0])
        else:
            optimizer = difflr.optimizers.Adam(  # type: ignore[attr-defined]
                method.learning_rates[0], multipliers=self.plan
            )
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss=loss)
        optimizer.build(model.trainable_variables)
        self._fresh = [(v, np.array(keras.ops.convert_to_numpy(v))) for v in [*model.variables, *optimizer.variables]]
        self._warm_up()

    def _warm_up(self) -> None:
        """Compile with an empty batch: Keras's first `fit` shuffles once more than later ones."""
        size = self.budget.batch_size
        nothing = np.zeros((size, *self.model.input_shape[1:]), "float32")
        self.model.fit(nothing, np.zeros(size, "int32"), batch_size=size, verbose=0)

    def run(
        self, images: np.ndarray, labels: np.ndarray, learning_rate: float, seed: int, on_epoch: Callable[[], None]
    ) -> Run:
        """Fine-tune with one base rate and one seed, and measure accuracy.

        Args:
            images: All images, `(num_images, 28, 28, 1)` in 0..255.
            labels: Their labels, `(num_pictures,)`.
            learning_rate: The initial base rate; it follows a cosine, epoch by epoch.
            seed: The seed for the image selection, the head and the batch order.
            on_epoch: Called after every epoch.

        Returns:
            The run.
        """
        start = time.perf_counter()
        positions = split(labels, seed)
        self._reset(seed)
        self.model.fit(
            images[positions.train].astype("float32"),
            labels[positions.train],
            epochs=self.budget.epochs,
            batch_size=self.budget.batch_size,
            verbose=0,
            callbacks=[self._cosine(learning_rate), keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: on_epoch())],
        )
        validation, test = self._accuracies(images, labels, positions)
        return Run(self.method.name, learning_rate, seed, validation, test, time.perf_counter() - start)

    def _reset(self, seed: int) -> None:
        """Reset to pretrained weights, a fresh optimizer, and a new head from the seed."""
        keras.utils.set_random_seed(seed)
        for variable, value in self._fresh:
            variable.assign(value)
        kernel = self.model.get_layer("head").kernel
        kernel.assign(keras.initializers.GlorotUniform(seed)(kernel.shape))

    def _cosine(self, learning_rate: float) -> keras.callbacks.Callback:
        epochs = self.budget.epochs
        return keras.callbacks.LearningRateScheduler(
            lambda epoch, _: learning_rate * (1 + math.cos(math.pi * epoch / epochs)) / 2
        )

    def _accuracies(self, images: np.ndarray, labels: np.ndarray, positions: Split) -> Iterator[float]:
        for part in (positions.validation, positions.test):
            logits = self.model.predict(images[part].astype("float32"), batch_size=100, verbose=0)
            yield float(np.mean(logits.argmax(1) == labels[part]))

    def rates(self, learning_rate: float) -> dict[str, float]:
        """Layer-tree path -> effective rate at the start, in the order of the model."""
        rows = difflr.Plan(self.model).rows if self.plan is None else self.plan.rows
        return {row.path: row.multiplier * learning_rate for row in rows}


def run_comparison(
    images: np.ndarray,
    labels: np.ndarray,
    weights: Mapping[str, list[np.ndarray]],
    budget: Budget,
    methods: Sequence[Method] = METHODS,
    on_start: Callable[[Method, float, int], None] = lambda method, learning_rate, seed: None,
    on_epoch: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Run all methods with the same budget.

    Args:
        images: The images, `(num_images, 28, 28, 1)` in 0..255.
        labels: Their labels, `(num_pictures,)`.
        weights: The pretrained weights, as `squeezenet.read_weights` returns them.
        budget: The budget of every run.
        methods: The methods to compare.
        on_start: Called with method, base rate and seed before every run.
        on_epoch: Called after every epoch.

    Returns:
        One outcome per method, in order.
    """
    outcomes = []
    for method in methods:
        trainer = Trainer(build_model(weights), method, budget)
        search = []
        for learning_rate in method.learning_rates:
            for seed in budget.seeds:
                on_start(method, learning_rate, seed)
                search.append(trainer.run(images, labels, learning_rate, seed, on_epoch))
        best = choose(search)
        runs = tuple(run for run in search if run.learning_rate == best)
        outcomes.append(Outcome(method, tuple(search), runs, trainer.plan, trainer.rates(best)))
    return outcomes


def choose(search: Sequence[Run]) -> float:
    """The base rate with the best mean validation accuracy; ties go to the lowest. Ignores test accuracy."""
    means = mean_validation(search)
    return max(means, key=lambda learning_rate: (means[learning_rate], -learning_rate))


def mean_validation(search: Sequence[Run]) -> dict[float, float]:
    """Base rate -> mean validation accuracy over the seeds."""
    found: dict[float, list[float]] = {}
    for run in search:
        found.setdefault(run.learning_rate, []).append(run.validation)
    return {learning_rate: float(np.mean(values)) for learning_rate, values in found.items()}


def as_json(outcomes: Sequence[Outcome], budget: Budget) -> dict[str, Any]:
    """All numbers of a comparison, ready for `json.dump`.

    Args:
        outcomes: The result of `run_comparison`.
        budget: Its budget.
    """
    return {
        "difflr": difflr.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "budget": dataclasses.asdict(budget),
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
