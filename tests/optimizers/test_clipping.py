"""Gradients are clipped before any rate is applied, and a global norm is one norm over the trainable variables."""

import numpy as np
import pytest

import difflr
from optimizers.steps import assert_close, gradients, new_variables, ours, slow_half, tensors, values

RATE = 0.5


def clipped(multiplier, **clipping):
    """The gradients as the rates saw them: the moves of SGD divided by the effective rates."""
    variables = new_variables()
    start = values(variables)
    (grads,) = gradients(1)
    optimizer = ours("SGD", slow_half(variables, multiplier), RATE, **clipping)
    optimizer.apply(tensors(grads), variables)
    factors = [1, 1, multiplier, multiplier]
    moved = [before - now for before, now in zip(start, values(variables), strict=True)]
    return grads, [move / (RATE * factor) for move, factor in zip(moved, factors, strict=True)]


def norm(arrays):
    return np.sqrt(sum((array.astype("float64") ** 2).sum() for array in arrays))


@pytest.mark.parametrize("multiplier", [0.25, 4.0])
def test_global_clipnorm_is_one_norm_over_all_groups(multiplier):
    """Two groups, each clipped on its own, would have a norm of sqrt(2)."""
    grads, got = clipped(multiplier, global_clipnorm=1.0)
    assert norm(grads) > 2
    np.testing.assert_allclose(norm(got), 1.0, rtol=1e-5)
    assert_close(got, [g / norm(grads) for g in grads], rtol=1e-4, atol=1e-6)


def test_clipnorm_is_a_norm_for_each_variable():
    grads, got = clipped(0.25, clipnorm=0.5)
    assert_close(got, [g * 0.5 / norm([g]) for g in grads], rtol=1e-4, atol=1e-6)


def test_clipvalue():
    grads, got = clipped(0.25, clipvalue=0.3)
    assert any((np.abs(g) > 0.3).any() for g in grads)
    assert_close(got, [np.clip(g, -0.3, 0.3) for g in grads], rtol=1e-4, atol=1e-6)


def test_loss_scale_factor():
    grads, got = clipped(0.25, loss_scale_factor=16.0)
    assert_close(got, [g / 16 for g in grads], rtol=1e-4, atol=1e-6)


def test_scale_comes_off_before_the_clip():
    grads, got = clipped(0.25, loss_scale_factor=16.0, global_clipnorm=1000.0)
    assert_close(got, [g / 16 for g in grads], rtol=1e-4, atol=1e-6)


def test_frozen_variables_are_in_no_norm():
    variables = new_variables()
    start = values(variables)
    (grads,) = gradients(1)
    grads[0] = grads[0] * 1e6
    optimizer = ours("SGD", [(variables[0], difflr.FROZEN), (variables[3], 0.5)], RATE, global_clipnorm=1.0)
    optimizer.apply(tensors(grads), variables)
    moved = [before - now for before, now in zip(start, values(variables), strict=True)]
    assert not moved[0].any()
    unit = norm(grads[1:])
    assert_close(
        moved[1:],
        [RATE * factor * g / unit for factor, g in zip([1, 1, 0.5], grads[1:], strict=True)],
        rtol=1e-4,
        atol=1e-6,
    )
