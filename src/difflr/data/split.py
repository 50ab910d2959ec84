"""`stratified_split`: which examples validate."""

import numpy as np


def stratified_split(labels: np.ndarray, fraction: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Splits examples into training and validation, with the same share of every class.

    A class with two or more examples has at least one in each part; a single example is for training.

    Args:
        labels: Integers, `(num_examples,)`.
        fraction: Float in [0, 1): the share for validation.
        seed: Integer. The same seed and labels give the same split.

    Returns:
        The positions of the training and the validation examples, both ascending.

    Raises:
        ValueError: If `fraction` is out of range.

    Example:

    ```python
    train, validation = difflr.data.stratified_split(y, 0.25, seed=1)
    assert len(train) == 24 and len(validation) == 8
    ```
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"`fraction` must be at least 0 and below 1. Received: {fraction!r}.")
    random = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        positions = random.permutation(np.flatnonzero(labels == label))
        number = round(len(positions) * fraction)
        if fraction and len(positions) > 1:
            number = min(max(number, 1), len(positions) - 1)
        chosen.append(positions[: number if len(positions) > 1 else 0])
    validation = np.sort(np.concatenate(chosen)) if chosen else np.array([], "int64")
    return np.setdiff1d(np.arange(len(labels)), validation), validation
