"""Moving averages of the weights, and gradients gathered over several steps."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BASE,
    SLOW,
    assert_close,
    assert_same,
    chain,
    compiled_step,
    fit,
    gradients,
    new_variables,
    ours,
    product,
    slow_half,
    stock,
    tensors,
    train,
    values,
)

FACTORS = [1.0, 1.0, SLOW, SLOW]


def path_of_weights(start, steps):
    """The weights after each step of plain SGD."""
    weights, path = start, []
    for grads in gradients(steps):
        weights = [w - BASE * factor * g for w, factor, g in zip(weights, FACTORS, grads, strict=True)]
        path.append(weights)
    return path


def average(path, momentum):
    """Keras starts the average with the weights after the first step."""
    result = path[0]
    for weights in path[1:]:
        result = [momentum * a + (1 - momentum) * w for a, w in zip(result, weights, strict=True)]
    return result


def test_average_is_of_the_weights_as_they_moved():
    variables = new_variables()
    path = path_of_weights(values(variables), 4)
    optimizer = ours("SGD", slow_half(variables), use_ema=True, ema_momentum=0.7)
    assert_close(train(optimizer, variables, 4), path[-1])
    optimizer.finalize_variable_values(variables)
    assert_close(values(variables), average(path, 0.7), rtol=1e-5, atol=1e-6)


def test_average_overwrites_at_its_frequency():
    variables = new_variables()
    path = path_of_weights(values(variables), 2)
    optimizer = ours("SGD", slow_half(variables), use_ema=True, ema_momentum=0.7, ema_overwrite_frequency=2)
    assert_close(train(optimizer, variables, 2), average(path, 0.7), rtol=1e-5, atol=1e-6)


def test_frozen_variables_have_no_average():
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", slow_half(variables, difflr.FROZEN), use_ema=True, ema_overwrite_frequency=1)
    got = train(optimizer, variables)
    assert_same(got[2:], start[2:])
    averages = [variable for variable in optimizer.variables if tuple(variable.shape) in ((4, 3), (3,))]
    assert len(averages) == 2
    assert len(optimizer.variables) == len(["iteration", "learning_rate", *averages, "multipliers"])


def test_average_in_fit_with_a_frozen_layer():
    """`fit` ends with `finalize_variable_values` of the trainable weights."""
    model = chain()
    start = values(model.get_layer("body").weights)
    plan = difflr.Plan(model, {"body": difflr.FROZEN, "head/bias": 0.1})
    model.compile(difflr.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, multipliers=plan), loss="mse")
    seen = []
    kernel = model.get_layer("head").kernel
    fit(
        model,
        epochs=3,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(values([kernel])))],
    )
    assert_same(values(model.get_layer("body").weights), start)
    assert_close(values([kernel]), average(seen, 0.5), rtol=1e-5, atol=1e-6)


@pytest.mark.same_everywhere(but=["AdamW"])
@pytest.mark.parametrize("name", ["AdamW", "Nadam"])
def test_gathered_gradients_move_each_at_its_rate(name):
    """Compiled, since JAX traces this anew at every eager step."""
    settings = {"gradient_accumulation_steps": 2}

    def trained(optimizer, variables):
        optimizer.build(variables)
        return train(optimizer, variables, steps=4, step=compiled_step(optimizer, variables))

    variables = new_variables()
    got = trained(ours(name, slow_half(variables), **settings), variables)
    at_base = trained(stock(name, **settings), new_variables())
    at_slow = trained(stock(name, product(BASE, SLOW), **settings), new_variables())
    assert_close(got, at_base[:2] + at_slow[2:], rtol=1e-6)
    assert np.abs(at_base[2] - at_slow[2]).max() > 1e-3


def test_nothing_moves_before_the_last_gradient_is_there():
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", slow_half(variables), gradient_accumulation_steps=2, weight_decay=0.5)
    optimizer.build(variables)
    step = compiled_step(optimizer, variables)
    first, second = gradients(2)
    step(tensors(first))
    assert_same(values(variables), start)
    step(tensors(second))
    expected = [
        p * (1 - 0.5 * BASE * factor) - BASE * factor * (a + b) / 2
        for p, factor, a, b in zip(start, FACTORS, first, second, strict=True)
    ]
    assert_close(values(variables), expected)


def test_clip_is_of_what_was_gathered():
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", slow_half(variables), gradient_accumulation_steps=2, global_clipnorm=0.1)
    optimizer.build(variables)
    step = compiled_step(optimizer, variables)
    for grads in gradients(2):
        step(tensors(grads))
    moved = [
        (before - now) / (BASE * factor) for before, now, factor in zip(start, values(variables), FACTORS, strict=True)
    ]
    np.testing.assert_allclose(np.sqrt(sum((move**2).sum() for move in moved)), 0.1, rtol=1e-4)
