"""Loops of one's own, on each backend as it is written there."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BACKEND,
    X,
    assert_close,
    assert_same,
    gradients,
    kernel_gradient,
    new_variables,
    ours,
    side_by_side,
    slow_half,
    tensors,
    values,
)


def loop(model, optimizer, steps, step_method):
    """Trains by hand, with the loss that is the mean of the output."""
    optimizer.build(model.trainable_variables)
    if BACKEND == "jax":
        _jax_loop(model, optimizer, steps)
        return
    for _ in range(steps):
        grads, variables = (_tensorflow_gradients if BACKEND == "tensorflow" else _torch_gradients)(model)
        if step_method == "apply_gradients":
            optimizer.apply_gradients(zip(grads, variables, strict=True))
        elif step_method == "apply with variables":
            optimizer.apply(grads, variables)
        else:
            optimizer.apply(grads)


def _jax_loop(model, optimizer, steps):
    import jax

    def loss(trainable, other, x):
        y, other = model.stateless_call(trainable, other, x, training=True)
        return y.mean(), other

    @jax.jit
    def step(trainable, other, state, x):
        (_, other), grads = jax.value_and_grad(loss, has_aux=True)(trainable, other, x)
        trainable, state = optimizer.stateless_apply(state, grads, trainable)
        return trainable, other, state

    everything = [model.trainable_variables, model.non_trainable_variables, optimizer.variables]
    current = [[variable.value for variable in variables] for variables in everything]
    for _ in range(steps):
        current = step(*current, X)
    for variables, numbers in zip(everything, current, strict=True):
        for variable, number in zip(variables, numbers, strict=True):
            variable.assign(number)


def _tensorflow_gradients(model):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(X, training=True))
    return tape.gradient(loss, model.trainable_variables), model.trainable_variables


def _torch_gradients(model):
    model.zero_grad()
    keras.ops.mean(model(X, training=True)).backward()
    return [variable.value.grad for variable in model.trainable_variables], model.trainable_variables


METHODS = ["stateless_apply"] if BACKEND == "jax" else ["apply", "apply with variables", "apply_gradients"]


@pytest.mark.parametrize("step_method", METHODS)
@pytest.mark.parametrize("frozen", [False, True])
def test_loop(step_method, frozen):
    model = side_by_side()
    fast, slow = model.get_layer("fast"), model.get_layer("slow")
    rules = {"slow": 0.1, "fast/bias": difflr.FROZEN} if frozen else {"slow": 0.1}
    start = values([fast.kernel, slow.kernel, fast.bias, slow.bias])
    optimizer = difflr.optimizers.SGD(0.5, multipliers=difflr.Plan(model, rules))
    loop(model, optimizer, 3, step_method)
    moved = [
        now - then for now, then in zip(values([fast.kernel, slow.kernel, fast.bias, slow.bias]), start, strict=True)
    ]
    assert_close(moved[:2], [-1.5 * kernel_gradient(), -0.15 * kernel_gradient()], rtol=1e-5)
    assert_close(moved[2:], [np.full(2, 0.0 if frozen else -0.75), np.full(2, -0.075)], rtol=1e-5)
    assert int(values([optimizer.iterations])[0]) == 3


@pytest.mark.parametrize("frozen", [False, True])
def test_apply_and_apply_gradients(frozen):
    """Both, on every backend, with the gradients of all variables or of the trainable ones; the first call builds."""
    results = []
    for how in ("apply", "apply_gradients", "trainable", "trainable, in order"):
        variables = new_variables()
        optimizer = ours("Adam", slow_half(variables, difflr.FROZEN if frozen else 0.1))
        optimizer.build(variables) if how.startswith("trainable") else None
        for grads in gradients(2):
            pairs = list(zip(tensors(grads), variables, strict=True))
            trainable = [(grad, variable) for grad, variable in pairs if variable.trainable]
            if how == "apply":
                optimizer.apply(tensors(grads), variables)
            elif how == "apply_gradients":
                optimizer.apply_gradients(pairs)
            elif how == "trainable":
                optimizer.apply_gradients(trainable)
            else:
                optimizer.apply([grad for grad, _ in trainable])
        results.append(values(variables))
    for result in results[1:]:
        assert_same(result, results[0])


def test_no_model_at_all():
    """A function names the rates of variables that belong to no layer."""
    variables = new_variables()
    start = values(variables)
    optimizer = difflr.optimizers.SGD(1.0, multipliers=lambda variable: 0.1 if variable.name.startswith("slow") else 1)
    (grads,) = gradients(1)
    optimizer.apply(tensors(grads), variables)
    for now, then, grad, factor in zip(values(variables), start, grads, [1, 1, 0.1, 0.1], strict=True):
        np.testing.assert_allclose(now, then - factor * grad, rtol=1e-5, atol=1e-6)


def half_frozen():
    variables = new_variables()
    optimizer = ours("SGD", slow_half(variables, difflr.FROZEN))
    optimizer.build(variables)
    return optimizer, variables


def test_too_many_gradients():
    optimizer, _ = half_frozen()
    with pytest.raises(ValueError, match=r"Received 4 gradients, but 2 variables are trainable: the plan freezes 2"):
        optimizer.apply(tensors(gradients(1)[0]))


def test_gradients_and_variables_of_different_number():
    optimizer, variables = half_frozen()
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is longer"):
        optimizer.apply(tensors(gradients(1)[0][:3]), variables)


def test_too_few_gradients_is_keras_own_error():
    optimizer, _ = half_frozen()
    with pytest.raises(ValueError, match=r"Received a list of 1 gradients"):
        optimizer.apply(tensors(gradients(1)[0][:1]))


def test_unknown_variable_is_keras_own_error():
    optimizer, _ = half_frozen()
    with pytest.raises(ValueError, match="Unknown variable"):
        optimizer.apply(tensors(gradients(1)[0]), new_variables())


def test_no_gradients_are_no_step():
    optimizer, _ = half_frozen()
    optimizer.apply([])
    assert int(values([optimizer.iterations])[0]) == 0


def test_gradients_without_variables_before_the_build():
    with pytest.raises(ValueError, match="must already be built"):
        ours("SGD", 0.5).apply(tensors(gradients(1)[0]))


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX has stateless updates in Keras (TensorFlow refuses them)")
def test_stateless_apply_with_the_frozen_ones_too():
    optimizer, variables = half_frozen()
    state = [variable.value for variable in optimizer.variables]
    with pytest.raises(
        ValueError, match=r"Received 4 trainable variables, but 2 variables are trainable: the plan freezes 2"
    ):
        optimizer.stateless_apply(state, tensors(gradients(1)[0]), [variable.value for variable in variables])


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX has stateless updates in Keras (TensorFlow refuses them)")
def test_stateless_apply_changes_no_variable():
    optimizer, variables = half_frozen()
    before = values([*variables, *optimizer.variables])
    trainable = [variable.value for variable in variables[:2]]
    new, state = optimizer.stateless_apply(
        [variable.value for variable in optimizer.variables], tensors(gradients(1)[0][:2]), trainable
    )
    assert_same(values([*variables, *optimizer.variables]), before)
    assert not np.array_equal(new[0], trainable[0])
    assert int(state[0]) == 1
