"""`optimizer.learning_rate` is the base rate: callbacks and schedules change it, and the ratios stay."""

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import (
    BASE,
    kernel_gradient,
    mean_output,
    moves,
    new_variables,
    ours,
    side_by_side,
    tensors,
    values,
)

PIECEWISE = keras.optimizers.schedules.PiecewiseConstantDecay


@pytest.fixture(params=["float32", "mixed_float16"])
def precision(request):
    """Under `mixed_float16` Keras wraps the optimizer in a LossScaleOptimizer; half precision rounds the gradients."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield 1e-5 if request.param == "float32" else 2e-3
    keras.config.set_dtype_policy(before)


def compiled(multiplier=0.1, rate=0.5, rules=None):
    model = side_by_side()
    plan = difflr.Plan(model, rules or {"slow": multiplier})
    model.compile(difflr.optimizers.SGD(rate, multipliers=plan), loss=mean_output)
    return model


def assert_moved(got, rates, rtol, factors=None):
    """Fast by the sum of the rates, slow by that of the rates times its factors."""
    factors = factors or [0.1] * len(rates)
    fast, slow = got
    np.testing.assert_allclose(fast, -sum(rates) * kernel_gradient(), rtol=rtol)
    slow_sum = sum(rate * factor for rate, factor in zip(rates, factors, strict=True))
    np.testing.assert_allclose(slow, -slow_sum * kernel_gradient(), rtol=rtol)


class Seen(keras.callbacks.Callback):
    """The base rate in each epoch, as anyone may read it."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_epoch_begin(self, epoch, logs=None):
        self.rates.append(float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)))


def test_precision_is_what_it_says(precision):
    model = compiled()
    wrapped = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert wrapped == (precision > 1e-5)
    inner = model.optimizer.inner_optimizer if wrapped else model.optimizer
    assert isinstance(inner, difflr.optimizers.SGD)


@pytest.mark.same_everywhere
def test_constant(precision):
    assert_moved(moves(compiled(), epochs=2), [0.5, 0.5], precision)


def test_set_between_fits(precision):
    model = compiled()
    assert_moved(moves(model), [0.5], precision)
    model.optimizer.learning_rate = 0.2
    assert_moved(moves(model), [0.2], precision)


def test_learning_rate_scheduler(precision):
    rates = [0.5, 0.3, 0.4]
    seen = Seen()
    callbacks = [keras.callbacks.LearningRateScheduler(lambda epoch, rate: rates[epoch]), seen]
    assert_moved(moves(compiled(), epochs=3, callbacks=callbacks), rates, precision)
    np.testing.assert_allclose(seen.rates, rates)


def test_reduce_on_plateau(precision):
    """With an improvement that never counts, the rate halves after every epoch but the first."""
    seen = Seen()
    plateau = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    got = moves(compiled(), epochs=4, callbacks=[plateau, seen])
    np.testing.assert_allclose(seen.rates, [0.5, 0.5, 0.25, 0.125])
    assert_moved(got, seen.rates, precision)


def test_schedule_of_the_base_rate(precision):
    model = compiled(rate=PIECEWISE([0, 1], [0.5, 0.2, 0.1]))
    assert_moved(moves(model, epochs=3), [0.5, 0.2, 0.1], precision)


def test_schedule_of_a_group(precision):
    """Times its multiplier, on top of whatever the base rate is."""
    rules = [difflr.Rule("slow", multiplier=0.1, schedule=PIECEWISE([0, 1], [1.0, 0.5, 3.0]))]
    assert_moved(moves(compiled(rules=rules), epochs=3), [0.5] * 3, precision, [0.1, 0.05, 0.3])
    rates = [0.5, 0.2, 0.1]
    model = compiled(rules=rules, rate=PIECEWISE([0, 1], rates))
    assert_moved(moves(model, epochs=3), rates, precision, [0.1, 0.05, 0.3])


def test_callback_and_schedule_of_a_group_at_once():
    rates = [0.5, 0.2]
    rules = {"slow": {"multiplier": 0.1, "schedule": PIECEWISE([0], [1.0, 0.5])}}
    got = moves(
        compiled(rules=rules),
        epochs=2,
        callbacks=[keras.callbacks.LearningRateScheduler(lambda epoch, rate: rates[epoch])],
    )
    assert_moved(got, rates, 1e-5, [0.1, 0.05])


def test_callable_rate():
    """A function without arguments, as Keras takes it."""
    variables = new_variables()
    start = values(variables)
    optimizer = ours("SGD", [(variables[1], 0.1)], rate=lambda: 0.5)
    optimizer.apply(tensors([np.ones(variable.shape, "float32") for variable in variables]), variables)
    moved = [float((before - now).mean()) for before, now in zip(start, values(variables), strict=True)]
    np.testing.assert_allclose(moved, [0.5, 0.05, 0.5, 0.5], rtol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Muon"])
def test_base_rate_reads_as_it_was_given(name):
    variables = new_variables()
    optimizer = ours(name, [(variables[0], 0.1)])
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == np.float32(BASE)
    optimizer.build(variables)
    optimizer.apply(tensors([np.ones(variable.shape, "float32") for variable in variables]), variables)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == np.float32(BASE)


def test_summary_has_the_effective_rates_of_the_moment():
    model = compiled()
    model.optimizer.build(model.trainable_variables)
    model.optimizer.learning_rate = 0.02
    model.optimizer.multipliers[model.get_layer("slow")] = 0.3
    said = []
    model.optimizer.summary(said.append)
    assert "0.006" in said[0]
    assert "base rate 0.02" in said[0]
