"""`evaluation`: what a model gets right and wrong, as numbers."""

from collections.abc import Callable, Sequence

import numpy as np

from difflr.checks import shown
from difflr.report.class_evaluation import ClassEvaluation
from difflr.report.label_evaluation import LabelEvaluation
from difflr.report.measured import Measured, Shown
from difflr.report.number_evaluation import NumberEvaluation


def evaluation(
    y: Sequence[float] | np.ndarray,
    scores: Sequence[Sequence[float]] | np.ndarray,
    class_names: Sequence[str] = (),
    *,
    names: Sequence[str] | None = None,
    show: Callable[[int], Shown] | None = None,
) -> Measured:
    """Measures what a model gets right and wrong on labeled examples.

    - Classes, `(n,)` with `class_names`: accuracy, confusion matrix, calibration; precision, recall and F1 per class.
    - Several labels per example, 0 and 1 in `(n, num_labels)` with `class_names`: F1 per label.
    - Numbers, without `class_names`: MAE, RMSE and R².

    Args:
        y: The labels, as positions in `class_names`; or 0 and 1; or numbers.
        scores: The predictions: probabilities `(n, num_classes)`, or `(n, 1)` for the second of two classes; or numbers.
        class_names: The names of the classes or labels, in the order of the model's outputs.
        names: The names of the examples, such as files. By default their numbers, from 0.
        show: Function from a position to the image (uint8, `(height, width, channels)`) or text there, which a report
            shows beside a mistake.

    Returns:
        The results, with the methods `numbers()`, `table()`, `mistakes(most)`, and `as_data()` for plain data. Pass them to
        `difflr.write_report` as `evaluation=`.

    Raises:
        ValueError: If the shapes do not fit each other, a label has no name, or a probability is not in 0..1.

    Example:

    ```python
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]
    found = difflr.evaluation([0, 1, 1], probabilities, ("cat", "dog"), names=["1.jpg", "2.jpg", "3.jpg"])
    print(found.sentence())  # Accuracy 66.7 % (2 of 3 right; 95 % interval 21 to 94 %)
    worst = found.mistakes(1)[0]
    print(worst.name, worst.truth, worst.predicted)  # 3.jpg dog cat 60 %
    ```
    """
    y, scores = np.asarray(y), np.asarray(scores, "float64")
    if not len(y) or len(y) != len(scores):
        raise ValueError(
            f"`y` and `scores` must have one length, above 0. Received: {len(y)} answers and {len(scores)} predictions."
        )
    wrong = ~np.isfinite(scores)
    if wrong.any():
        raise ValueError(
            f"The predictions hold NaN or infinite values, {int(wrong.sum())} of {wrong.size}: its weights are broken."
        )
    names = [str(number) for number in range(len(y))] if names is None else names
    if len(names) != len(y):
        raise ValueError(f"`names` must have one name an example, {len(y)}. Received: {len(names)}.")
    if not len(class_names):
        return _of_numbers(y, scores, names, show)
    class_names = tuple(map(str, class_names))
    if scores.ndim == 2 and scores.shape[1] == 1 and len(class_names) == 2 and y.ndim == 1:
        scores = np.concatenate([1 - scores, scores], axis=1)
    _check_scores(scores, class_names)
    if y.ndim == 2:
        if y.shape != scores.shape or not np.isin(y, (0, 1)).all():
            raise ValueError(
                f"Several labels an example are 0 and 1 in an array of shape {scores.shape}. Received: {y.shape}, "
                f"{shown(np.unique(y)[:5].tolist())}."
            )
        return LabelEvaluation(y, scores, class_names, names, show)
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= len(class_names):
        raise ValueError(
            f"Labels are whole numbers from 0 to {len(class_names) - 1}, positions in `class_names`. "
            f"Received: {y.dtype} {y.shape}, {y.min()} to {y.max()}."
        )
    return ClassEvaluation(y.astype("int64"), scores, class_names, names, show)


def _check_scores(scores: np.ndarray, class_names: tuple[str, ...]) -> None:
    if scores.ndim != 2 or scores.shape[1] != len(class_names):
        raise ValueError(
            f"`scores` must have a column for each of {len(class_names)} names. Received: shape {scores.shape}."
        )
    if scores.min() < -1e-6 or scores.max() > 1 + 1e-3:
        raise ValueError(
            f"`scores` must be probabilities, 0 to 1. Received: {scores.min():.4g} to {scores.max():.4g}. Of logits take "
            "keras.ops.softmax, or keras.ops.sigmoid for several labels."
        )


def _of_numbers(
    y: np.ndarray, scores: np.ndarray, names: Sequence[str], show: Callable[[int], Shown] | None
) -> NumberEvaluation:
    y = y.astype("float64").reshape(len(y), -1)
    scores = scores.reshape(len(scores), -1)
    if y.shape != scores.shape:
        raise ValueError(f"Numbers and predictions must have one shape. Received: {y.shape} and {scores.shape}.")
    outputs = ("output",) if y.shape[1] == 1 else tuple(f"output {number}" for number in range(y.shape[1]))
    return NumberEvaluation(y, scores, outputs, names, show)
