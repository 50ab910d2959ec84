"""Multipliers can be read and set between steps, without compiling anew; what cannot be set says so."""

import logging

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BACKEND,
    NAMES,
    X,
    assert_same,
    chain,
    fit,
    kernel_gradient,
    mean_output,
    moves,
    new_variables,
    ours,
    side_by_side,
    slow_half,
    stock,
    train,
    values,
)


class Compilations(logging.Handler):
    """Counts how often a model's loss is traced, and on JAX what XLA compiles besides."""

    def __init__(self):
        super().__init__()
        self.traces = 0
        self.messages = []

    def emit(self, record):
        if "Finished XLA compilation" in record.getMessage() and "step" in record.getMessage():
            self.messages.append(record.getMessage())

    def loss(self, y_true, y_pred):
        self.traces += 1
        return mean_output(y_true, y_pred)


@pytest.fixture
def compilations():
    counter = Compilations()
    if BACKEND != "jax":
        yield counter
        return
    import jax

    loggers = [logging.getLogger(name) for name in ("jax._src.dispatch", "jax._src.interpreters.pxla")]
    for logger in loggers:
        logger.addHandler(counter)
    with jax.log_compiles():
        yield counter
    for logger in loggers:
        logger.removeHandler(counter)


def test_set_takes_effect_at_the_next_step_without_compiling(compilations):
    model = side_by_side()
    optimizer = difflr.optimizers.SGD(0.5, multipliers=difflr.Plan(model, {"slow": 0.1}))
    model.compile(optimizer, loss=compilations.loss)
    gradient = kernel_gradient()
    fast, slow = moves(model)
    np.testing.assert_allclose(slow, -0.05 * gradient, rtol=1e-5)
    traces, compiled = compilations.traces, len(compilations.messages)
    assert traces > 0
    assert compiled > 0 or BACKEND != "jax"
    for multiplier in (0.3, 2.0, 0.05):
        optimizer.multipliers[model.get_layer("slow")] = multiplier
        fast, slow = moves(model)
        np.testing.assert_allclose(fast, -0.5 * gradient, rtol=1e-5)
        np.testing.assert_allclose(slow, -0.5 * multiplier * gradient, rtol=1e-5)
    if BACKEND != "torch":  # torch does not compile: it calls the loss at every step
        assert compilations.traces == traces
        assert len(compilations.messages) == compiled


@pytest.mark.same_everywhere
def test_the_counter_counts(compilations):
    """A new plan does compile anew."""
    model = side_by_side()
    for multiplier in (0.1, 0.2):
        before = compilations.traces, len(compilations.messages)
        optimizer = difflr.optimizers.SGD(0.5, multipliers=difflr.Plan(model, {"slow": multiplier}))
        model.compile(optimizer, loss=compilations.loss)
        fit(model)
        assert compilations.traces > before[0]
        assert len(compilations.messages) > before[1] or BACKEND != "jax"


def test_set_by_a_callback():
    """At the beginning of an epoch, as callbacks of Keras set the rate."""
    model = side_by_side()
    optimizer = difflr.optimizers.SGD(0.5, multipliers=difflr.Plan(model, {"slow": 0.1}))
    model.compile(optimizer, loss=mean_output)
    optimizer.build(model.trainable_variables)  # TensorFlow builds it in the first step only
    factors = [0.1, 0.4, 0.2]

    def set_factor(epoch, logs=None):
        optimizer.multipliers[model.get_layer("slow")] = factors[epoch]

    fast, slow = moves(model, epochs=3, callbacks=[keras.callbacks.LambdaCallback(on_epoch_begin=set_factor)])
    np.testing.assert_allclose(fast, -1.5 * kernel_gradient(), rtol=1e-5)
    np.testing.assert_allclose(slow, -0.5 * sum(factors) * kernel_gradient(), rtol=1e-5)


@pytest.mark.parametrize("synchronized", [True, False])
def test_set_by_a_callback_between_batches(synchronized):
    """On JAX the state has to be fetched first, and it says so; stock Keras ignores a rate that is set there."""
    model = side_by_side()
    optimizer = difflr.optimizers.SGD(0.5, multipliers=difflr.Plan(model, {"slow": 0.1}))
    model.compile(optimizer, loss=mean_output)
    errors = []

    def set_factor(step, logs=None):
        if synchronized and BACKEND == "jax":
            model.jax_state_sync()
        try:
            optimizer.multipliers[model.get_layer("slow")] = 0.4
        except RuntimeError as error:
            errors.append(str(error))

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=set_factor)
    before = values([model.get_layer("slow").bias])
    fit(model, batch_size=4, callbacks=[callback])
    (moved,) = values([model.get_layer("slow").bias]) - np.array(before)
    if synchronized or BACKEND != "jax":
        assert not errors
        np.testing.assert_allclose(moved, [-0.25 * (0.1 + 0.4)] * 2, rtol=1e-5)
    else:
        assert all("self.model.jax_state_sync()" in error for error in errors)
        assert len(errors) == 2


@pytest.mark.parametrize("name", NAMES)
def test_set_to_another_number_is_that_number(name):
    mine, planned = new_variables(), new_variables()
    optimizer = ours(name, slow_half(mine, 0.1), weight_decay=0.1)
    optimizer.build(mine)
    layer = keras.layers.Layer()
    layer.kernel, layer.bias = mine[2:]
    optimizer.multipliers[layer] = 0.7
    assert_same(train(optimizer, mine, 2), train(ours(name, slow_half(planned, 0.7), weight_decay=0.1), planned, 2))


def test_reading():
    variables = new_variables()
    optimizer = ours("Adam", list(zip(variables, [0.1, 1.0, difflr.FROZEN, 1e-4], strict=True)))
    optimizer.build(variables)
    assert list(optimizer.multipliers.values()) == [0.1, 1.0, 0.0, 1e-4]
    assert optimizer.multipliers[variables[0]] == 0.1
    optimizer.multipliers[variables[0]] = 0.05
    assert optimizer.multipliers[variables[0]] == 0.05
    assert isinstance(optimizer.multipliers[variables[0]], float)
    assert "fast_kernel: 0.05" in repr(optimizer.multipliers)
    assert optimizer.plan.multipliers[variables[0]] == 0.05
    known = optimizer.multipliers
    optimizer.multipliers[variables[0]] = 0.025
    assert known[variables[0]] == 0.025  # a view, as of a dict
    optimizer.multipliers[variables[0]] = 0.1
    assert optimizer.plan is optimizer.plan  # as it was made: nothing is changed any more


def test_reading_before_the_build():
    model = chain()
    optimizer = difflr.optimizers.Adam(multipliers=difflr.Plan(model, {"body": 0.1}))
    assert optimizer.multipliers[model.get_layer("body").kernel] == 0.1
    with pytest.raises(ValueError, match=r"not built yet and has no plan.*optimizer\.build"):
        print(difflr.optimizers.Adam().multipliers)


def built():
    model = chain()
    optimizer = difflr.optimizers.SGD(multipliers=difflr.Plan(model, {"body": 0.1, "head/bias": difflr.FROZEN}))
    optimizer.build(model.trainable_variables)
    return model, optimizer


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1, True, "0.1", None])
def test_values_that_are_no_multipliers(value):
    model, optimizer = built()
    with pytest.raises(ValueError, match="must be a finite number >= 0"):
        optimizer.multipliers[model.get_layer("body")] = value
    assert optimizer.multipliers[model.get_layer("body").kernel] == 0.1


def test_zero_cannot_be_set():
    model, optimizer = built()
    with pytest.raises(ValueError, match=r"multiplier of 0 freezes.*difflr\.FROZEN: difflr\.replan"):
        optimizer.multipliers[model.get_layer("body")] = 0


def test_part_of_a_group_cannot_be_set():
    model, optimizer = built()
    with pytest.raises(ValueError, match=r"'body/kernel' shares its multiplier with 1 .*not named: body/bias"):
        optimizer.multipliers[model.get_layer("body").kernel] = 0.2
    assert set(optimizer.multipliers.values()) == {0.1, 1.0, 0.0}


def test_frozen_and_foreign_things_cannot_be_set():
    model, optimizer = built()
    with pytest.raises(KeyError, match=r"trains no variable of head/bias: it is frozen, or belongs to another model"):
        optimizer.multipliers[model.get_layer("head").bias] = 0.2
    with pytest.raises(KeyError, match="belongs to another model"):
        optimizer.multipliers[chain().get_layer("body")] = 0.2


def test_unbuilt_cannot_be_set():
    model = chain()
    optimizer = difflr.optimizers.SGD(multipliers=difflr.Plan(model))
    with pytest.raises(ValueError, match=r"not built yet: set multipliers in its plan, or build it first"):
        optimizer.multipliers[model.get_layer("body")] = 0.2


def test_several_groups_at_once():
    """A layer whose weights are in two groups: both are set."""
    model = chain()
    body = model.get_layer("body")
    optimizer = difflr.optimizers.SGD(multipliers=difflr.Plan(model, [(body.kernel, 0.1), (body.bias, 0.2)]))
    optimizer.build(model.trainable_variables)
    optimizer.multipliers[body] = 0.3
    assert list(optimizer.multipliers.values()) == [0.3, 0.3, 1.0, 1.0]
    optimizer.multipliers[model] = 0.5
    assert list(optimizer.multipliers.values()) == [0.5] * 4


def test_one_number_in_the_state_for_each_group():
    variables = new_variables()
    optimizer = ours("SGD", slow_half(variables))
    optimizer.build(variables)
    reference = stock("SGD")
    reference.build(new_variables())
    (extra,) = optimizer.variables[len(reference.variables) :]
    assert values([extra])[0].tolist() == [0.0, 0.0]  # as planned


def test_predict_is_untouched():
    """The model with the optimizer predicts as before."""
    model, _ = built()
    before = model.predict(X, verbose=0)
    model.compile(difflr.optimizers.SGD(), loss="mse")
    assert_same([model.predict(X, verbose=0)], [before])
