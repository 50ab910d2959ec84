"""`discriminative` against fastai's `even_mults` and `slice`."""

import keras
import numpy as np
import pytest

import difflr


@pytest.fixture
def model():
    layers = [keras.layers.Dense(4, name=f"block_{number}") for number in range(4)]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, name="head")])


def kernels(plan):
    return [row.multiplier for row in plan.rows if row.path.endswith("kernel")]


def test_from_low_to_high(model):
    # fastai: even_mults(1e-4, 1e-2, 5), the rates of slice(1e-4, 1e-2), as parts of the last
    np.testing.assert_allclose(kernels(difflr.discriminative(model, 0.01)), np.geomspace(0.01, 1, 5), rtol=1e-12)
    np.testing.assert_allclose(kernels(difflr.discriminative(model, 0.5, 8)), np.geomspace(0.5, 8, 5), rtol=1e-12)


def test_without_low_all_but_the_last_at_a_tenth(model):
    np.testing.assert_allclose(kernels(difflr.discriminative(model)), [0.1, 0.1, 0.1, 0.1, 1])
    np.testing.assert_allclose(kernels(difflr.discriminative(model, high=2)), [0.2, 0.2, 0.2, 0.2, 2])


def test_groups_given(model):
    plan = difflr.discriminative(model, 0.01, groups=[["block_0", "block_1"], "block_[23]", model.get_layer("head")])
    np.testing.assert_allclose(kernels(plan), [0.01, 0.01, 0.1, 0.1, 1])
    assert plan.rows[0].decided == {"multiplier": "discriminative: group 1 of 3"}


def test_one_group_gets_high(model):
    assert kernels(difflr.discriminative(model, 0.1, groups=["*"])) == [1] * 5


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["block_[012]", "head"], r"No group contains block_3/kernel, block_3/bias \(2 in all\)"),
        (["*", "head"], "Groups 1 and 2 both contain head/kernel"),
        (["block_?", "heads"], r"Did you mean 'head'"),
    ],
)
def test_groups_that_do_not_fit(model, groups, message):
    with pytest.raises(ValueError, match=message):
        difflr.discriminative(model, 0.1, groups=groups)


def test_zero_is_no_end_of_a_geometric_series(model):
    with pytest.raises(ValueError, match="`low` must be above 0"):
        difflr.discriminative(model, 0)
