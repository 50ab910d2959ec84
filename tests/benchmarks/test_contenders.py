import keras
import numpy as np
import pytest

from benchmarks import contenders, models, settings


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setattr(settings, "COUNT", 4)
    monkeypatch.setattr(settings, "WIDTHS", {"small": 3})


def names():
    return ["stock", *contenders.names(keras.backend.backend())]


def test_groups_are_equal_runs():
    assert models.group_numbers(5, 2) == [0, 0, 0, 1, 1]
    assert models.group_numbers(150, 150) == list(range(150))


def test_no_multiplier_is_1_and_none_is_shared():
    for groups in (1, 12, 150):
        numbers = models.multipliers(groups)
        assert len(set(numbers)) == groups
        assert 1.0 not in numbers


@pytest.mark.parametrize("name", names())
def test_contender_takes_steps(tiny, name):
    mode = settings.MODES[keras.backend.backend()][0]
    contender = contenders.make(name, "small", 2, mode)
    contender.first_step()
    contender.run(2)
    assert len(contender.variables()) >= 8
    assert sum(contender.variables()) >= 8 * 9 * 4


def test_difflr_costs_one_number_a_group(tiny):
    mode = settings.MODES[keras.backend.backend()][0]
    stock, ours = (contenders.make(name, "small", 2, mode).variables() for name in ("stock", "difflr"))
    assert len(ours) == len(stock) + 1
    assert sum(ours) == sum(stock) + 8


def test_bare_weights_are_the_same_for_everyone(tiny):
    first, second = models.bare_weights("small"), models.bare_weights("small")
    assert len(first.trainable_variables) == 4
    for a, b in zip(first.trainable_variables, second.trainable_variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
