"""The digits and how they are divided."""

import numpy as np
import pytest

from difflr.demo import digits

LABELS = np.repeat(np.arange(10), 60)


def small(seed):
    return digits.split(LABELS, seed, train=8, validation=5, test=20)


def test_a_split_is_disjoint_and_balanced():
    parts = small(0)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert len(np.unique(together)) == len(together) == 10 * (8 + 5 + 20)
    for part, count in ((parts.train, 8), (parts.validation, 5), (parts.test, 20)):
        assert np.bincount(LABELS[part]).tolist() == [count] * 10


def test_a_split_depends_on_the_seed_alone():
    first, again, other = small(0), small(0), small(1)
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.validation, again.validation)
    assert set(first.train) != set(other.train)


def test_no_seed_trains_or_chooses_on_another_ones_test_pictures():
    tested = set(small(0).test)
    for seed in range(5):
        parts = small(seed)
        assert set(parts.test) == tested
        assert not tested & (set(parts.train) | set(parts.validation))


def test_parse():
    rows = np.zeros((3, 785), int)
    rows[:, -1] = [7, 0, 9]
    rows[1, 28] = 255
    text = "\n".join(",".join(map(str, row)) for row in rows).encode()
    images, labels = digits.parse(text)
    assert images.shape == (3, 28, 28, 1)
    assert images.dtype == np.uint8
    assert images[1, 1, 0, 0] == 255
    assert labels.tolist() == [7, 0, 9]


@pytest.mark.download
def test_the_real_digits():
    images, labels = digits.load()
    assert images.shape == (5000, 28, 28, 1)
    assert np.bincount(labels).tolist() == [500] * 10
