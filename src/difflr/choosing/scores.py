"""`Scores`: the loss and correctness of a trained model on each held-out example."""

import dataclasses
import math

import keras
import numpy as np

from difflr.choosing.examples import Examples

CHUNKS = 16
TEMPERATURES = np.geomspace(0.05, 50, 61)
SPARSE, ONE_HOT, BINARY = "sparse", "one-hot", "binary"
_KINDS = {  # name of the function or the class, without underscores
    "sparsecategoricalcrossentropy": SPARSE,
    "categoricalcrossentropy": ONE_HOT,
    "binarycrossentropy": BINARY,
}


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores on held-out examples.

    Args:
        losses: The loss of each example. For classifiers, the cross-entropy at the best temperature; otherwise a network
            that predicts nothing would look better than one that is right but overconfident.
        correct: Whether each example is classified correctly; `None` unless the model is a classifier.
    """

    losses: np.ndarray
    correct: np.ndarray | None = None

    @property
    def loss(self) -> float:
        """The mean loss; infinite if training diverged."""
        return float(self.losses.mean()) if np.isfinite(self.losses).all() else math.inf

    @property
    def accuracy(self) -> float | None:
        """The share of correct examples."""
        return None if self.correct is None else float(self.correct.mean())


@dataclasses.dataclass(frozen=True)
class Labels:
    """How to interpret the outputs and targets of a classifier.

    Args:
        kind: `"sparse"`, `"one-hot"` or `"binary"`.
        from_logits: Whether outputs are logits.
        numbers: The class of each example.
    """

    kind: str
    from_logits: bool
    numbers: np.ndarray

    @property
    def chance(self) -> float:
        """The loss of a classifier that predicts only the class frequencies."""
        shares = np.bincount(self.numbers) / len(self.numbers)
        return float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())

    def scores(self, outputs: np.ndarray, numbers: np.ndarray) -> Scores:
        """The scores of a model's outputs.

        Args:
            outputs: Float array, the outputs for the examples.
            numbers: Integer array, the numbers of the examples.
        """
        logits = outputs.astype("float64").reshape(len(numbers), -1)
        if not self.from_logits:
            logits = np.log(np.clip(logits, 1e-7, 1 - 1e-7)) - (
                np.log(np.clip(1 - logits, 1e-7, 1)) if self.kind == BINARY else 0
            )
        if self.kind == BINARY:
            logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
        truth = self.numbers[numbers]
        if not np.isfinite(logits).all():
            return Scores(np.full(len(truth), math.inf), np.zeros(len(truth)))
        by_temperature = [_losses(logits / temperature, truth) for temperature in TEMPERATURES]
        best = min(by_temperature, key=lambda losses: float(losses.mean()))
        return Scores(best, (logits.argmax(1) == truth).astype("float64"))


def labels_of(model: keras.Model, loss: object, examples: Examples) -> Labels | None:
    """How to interpret outputs and targets; `None` if the model is not a classifier, or is of an unknown kind.

    Args:
        model: The model.
        loss: As in `compile`.
        examples: The data.
    """
    targets = examples.targets
    own = type(model).compute_loss is not keras.Model.compute_loss or type(model).test_step is not keras.Model.test_step
    if own or not isinstance(targets, np.ndarray) or not isinstance(getattr(model, "output_shape", None), tuple):
        return None
    kind, from_logits = _kind_of(loss)
    width = model.output_shape[-1]
    if kind == ONE_HOT and targets.ndim == 2 and targets.shape[1] == width:
        return Labels(kind, from_logits, targets.argmax(1))
    flat = targets.reshape(len(targets), -1)
    if kind not in (SPARSE, BINARY) or flat.shape[1] != 1 or not (flat == np.round(flat)).all():
        return None
    if len(model.output_shape) != 2 or (kind == BINARY and (width != 1 or flat.max() > 1)):
        return None
    return Labels(kind, from_logits, flat[:, 0].astype("int64"))


def _kind_of(loss: object) -> tuple[str, bool]:
    """The kind of cross-entropy, empty for other losses; and whether it takes logits."""
    if not isinstance(loss, (str, keras.losses.Loss)) and not callable(loss):
        return "", False
    found = keras.losses.get(loss)
    name = getattr(found, "__name__", type(found).__name__)
    return _KINDS.get(name.replace("_", "").lower(), ""), bool(getattr(found, "from_logits", False))


def _losses(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    losses: np.ndarray = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(truth)), truth]
    return losses


def scores_by_loss(model: keras.Model, examples: Examples, numbers: np.ndarray) -> Scores:
    """The scores of any model: the loss that it reports, on about 16 parts of the examples.

    Args:
        model: A compiled model.
        examples: The data.
        numbers: Integer array, the examples.

    Raises:
        ValueError: If it reports no loss.
    """
    size = 1 if examples.whole_batches else math.ceil(len(numbers) / CHUNKS)
    losses = []
    for start in range(0, len(numbers), size):
        batch = examples.at(numbers[start : start + size])
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        found = model.evaluate(x, y, sample_weight=weight, batch_size=max(size, 1), verbose=0, return_dict=True)
        if "loss" not in found:
            raise ValueError(
                f"`evaluate` of '{model.name}' reports no 'loss', which is needed to compare candidates. Received: "
                f"{', '.join(found) or 'nothing'}. Return one under this name from `test_step`."
            )
        losses.append(float(found["loss"]))
    return Scores(np.array(losses))
