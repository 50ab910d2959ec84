"""`Network`: a trained model in use, which predicts from files as it was trained on them."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

import difflr
from difflr.data.image import decode
from difflr_command.inputs import image_scale, image_size
from difflr_command.loss import output_activation
from difflr_command.models import load
from difflr_command.texts import TextsToNumbers

IMAGES, TEXTS, ARRAYS = "images", "texts", "arrays"
CLASSES, LABELS, NUMBERS = "classes", "labels", "numbers"


class Network:
    """A model, what it takes and what its outputs mean.

    Args:
        file: A `.keras` file.
        scale: Of a model that difflr did not write: the scale of images; `None` for what can be seen.
        size: Height and width of its images; `None` for what the model takes.

    Raises:
        ValueError: If the file cannot be loaded, or it cannot be told what the model takes.
    """

    def __init__(self, file: Path, scale: str | None = None, size: tuple[int, int] | None = None):
        self.file = file
        self.model = load(file)
        known = difflr.models.read_info(file)
        if len(self.model.inputs or [0]) != 1 or not isinstance(self.model.output_shape, tuple):
            raise ValueError(f"{file} has several inputs or outputs, and only models with one of each predict here.")
        self.info = known or _guessed(self.model, size)
        self._texts: TextsToNumbers | None = None
        if self.info.data == IMAGES:
            image_size(self.info.size or (None, None), size)
            own = known is not None or difflr.data.has_own_scale(self.model)
            self.model = difflr.models.with_scale(self.model, image_scale(own, scale)[0])
        if self.info.data == TEXTS:
            layer, self.model = difflr.models.after_vectorization(self.model)
            self._texts = TextsToNumbers(layer, self.model)
        self._activation = output_activation(self.model)

    @property
    def num_outputs(self) -> int:
        """The number of outputs."""
        return int(self.model.output_shape[-1])

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes or outputs; their numbers where the file holds none."""
        number = 2 if self.info.task == CLASSES and self.num_outputs == 1 else self.num_outputs
        return self.info.class_names or tuple(map(str, range(number)))

    def image(self, file: Path) -> tuple[np.ndarray, str | None]:
        """An image as the model takes it, and what was done to it that should be known.

        Raises:
            ValueError: If it cannot be read; the message is the reason alone.
        """
        assert self.info.size is not None
        assert self.info.channels is not None
        return decode(file, self.info.size, self.info.channels)

    def predict(self, inputs: np.ndarray, batch_size: int) -> np.ndarray:
        """The predictions for one batch: probabilities, or numbers.

        Args:
            inputs: Images as bytes, texts, or arrays.
            batch_size: What a smaller batch is filled up to, so that nothing is compiled twice.
        """
        number = len(inputs)
        filled = np.concatenate([inputs, np.repeat(inputs[-1:], batch_size - number, axis=0)])
        if self._texts is not None:
            filled = self._texts.batch(self._texts.of(filled))
        elif self.info.data == IMAGES:
            filled = filled.astype("float32")
        with warnings.catch_warnings():  # a model that takes a list of one input takes the input, too
            warnings.filterwarnings("ignore", "The structure of `inputs`")
            outputs = np.asarray(self.model.predict_on_batch(filled), "float64")[:number]
        task = self.info.task
        return outputs.reshape(number, -1) if task == NUMBERS else probabilities(outputs, task, self._activation)


def probabilities(outputs: np.ndarray, task: str, activation: str | None) -> np.ndarray:
    """`(n, num_classes)`: of logits, too; two columns where one output decides between two classes.

    Args:
        outputs: What the model put out, `(n, num_outputs)`.
        task: As in `difflr.models.ModelInfo`, but not `"numbers"`.
        activation: That of the model's last layer.
    """
    if task == LABELS or outputs.shape[-1] == 1:
        scores = outputs if activation == "sigmoid" else 1 / (1 + np.exp(-outputs))
        return np.concatenate([1 - scores, scores], axis=1) if task == CLASSES else scores
    if activation == "softmax":
        return outputs
    if activation == "sigmoid":
        return outputs / np.maximum(outputs.sum(1, keepdims=True), 1e-12)
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _guessed(model: keras.Model, asked: tuple[int, int] | None) -> difflr.models.ModelInfo:
    """What can be seen of a model whose file says nothing."""
    shape, size, channels = model.input_shape, None, None
    data = ARRAYS
    if keras.backend.standardize_dtype(model.inputs[0].dtype) == "string":
        data = TEXTS
    elif len(shape) == 4 and shape[-1] in (1, 3, 4):
        data, channels = IMAGES, int(shape[-1])
        size = image_size(shape[1:3], asked)
    activation, several = output_activation(model), model.output_shape[-1] > 1
    task = NUMBERS
    if activation == "softmax" or (activation == "sigmoid" and not several):
        task = CLASSES
    elif activation == "sigmoid":
        task = LABELS
    return difflr.models.ModelInfo((), task, data, size, channels)


def named(names: Sequence[str], scores: np.ndarray, task: str, top: int) -> list[tuple[str, float]]:
    """What a prediction says: names and numbers, the most probable first.

    Args:
        names: The names of the outputs.
        scores: Float array `(num_outputs,)`.
        task: `"classes"`: the `top` most probable; `"labels"`: all from one half on; `"numbers"`: all.
        top: How many classes.
    """
    if task == NUMBERS:
        return list(zip(names, map(float, scores), strict=True))
    order = np.argsort(-scores, kind="stable")
    chosen = order[:top] if task == CLASSES else [number for number in order if scores[number] >= 0.5]
    return [(names[number], float(scores[number])) for number in chosen]
