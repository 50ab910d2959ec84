"""What goes wrong with Keras's optimizers without a word: it is said, or mended."""

import warnings

import keras
import numpy as np
import pytest

import difflr
from optimizers.steps import BACKEND, assert_same, chain, compiled_step, fit, knows, new_variables, train, values

COMPILES = pytest.mark.skipif(BACKEND == "torch", reason="on torch settings are read at every step")
SCHEDULE_FREE = pytest.mark.skipif(not knows("ScheduleFreeAdamW"), reason="an older Keras")


def compiled(optimizer):
    model = chain()
    model.compile(optimizer, loss=lambda y, p: 0.0 * p)  # no gradient: only the decay moves the weights
    return model


def decayed(model, **arguments):
    """How much is left of the first kernel after one step."""
    kernel = model.get_layer("body").kernel
    before = values([kernel])[0]
    fit(model, **arguments)
    return float(np.median(values([kernel])[0] / before))


class Set(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1 and BACKEND == "torch":
            self.model.optimizer.weight_decay = 5.0
        elif epoch == 1:
            said = r"`weight_decay` was set to 5\.0, and the compiled training step keeps 1\.0"
            with pytest.warns(UserWarning, match=said):
                self.model.optimizer.weight_decay = 5.0


def test_a_setting_that_the_compiled_step_does_not_take_is_said():
    """A tenth is lost at each of two steps; or, on torch, a tenth and then half."""
    model = compiled(difflr.optimizers.SGD(0.1, weight_decay=1.0))
    left = decayed(model, epochs=2, callbacks=[Set()])
    if BACKEND == "torch":
        assert left == pytest.approx(0.9 * 0.5)
        return
    assert left == pytest.approx(0.9 * 0.9)
    assert decayed(model) == pytest.approx(0.9), "what the warning says is so"
    model.compile(optimizer=model.optimizer, loss=model.loss)
    assert decayed(model) == pytest.approx(0.5), "and so is its advice"


@COMPILES
@pytest.mark.parametrize(
    ("setting", "value"), [("beta_1", 0.5), ("epsilon", 1e-3), ("clipnorm", 1.0), ("weight_decay", None)]
)
def test_every_setting_of_the_step(setting, value):
    optimizer = difflr.optimizers.AdamW(0.1)
    fit(compiled(optimizer))
    with pytest.warns(UserWarning, match=f"`{setting}` was set to"):
        setattr(optimizer, setting, value)


def test_what_has_an_effect_is_set_without_a_warning():
    optimizer = difflr.optimizers.AdamW(0.1, weight_decay=1.0)
    optimizer.weight_decay = 0.5  # before it is compiled
    model = compiled(optimizer)
    assert decayed(model) == pytest.approx(0.95)
    optimizer.weight_decay = 0.5  # the value it has
    optimizer.learning_rate = 0.05
    optimizer.multipliers[model] = 0.5
    optimizer.note = 3  # nothing of the optimizer's
    assert decayed(model) == pytest.approx(1 - 0.05 * 0.5 * 0.5)


def test_a_setting_is_changed_between_eager_steps_without_a_warning():
    variables = new_variables()
    optimizer = difflr.optimizers.SGD(0.1, weight_decay=1.0)
    train(optimizer, variables, steps=1)
    optimizer.weight_decay = 2.0
    train(optimizer, variables, steps=1)


@COMPILES
def test_a_loop_of_your_own_that_is_compiled():
    variables = new_variables()
    optimizer = difflr.optimizers.SGD(0.1, weight_decay=1.0)
    optimizer.build(variables)
    train(optimizer, variables, steps=1, step=compiled_step(optimizer, variables))
    with pytest.warns(UserWarning, match="keeps 1.0"):
        optimizer.weight_decay = 2.0


def test_averages_and_a_second_fit():
    """On JAX stock Keras fails in the second `fit`: "Attempt to donate the same buffer twice"."""
    settings = {"use_ema": True, "ema_momentum": 0.5}
    twice, model = [], compiled(difflr.optimizers.SGD(0.1, weight_decay=1.0, **settings))
    for _ in range(2):
        twice.append(decayed(model))
    stock = compiled(keras.optimizers.SGD(0.1, weight_decay=1.0, **settings))
    assert twice[0] == decayed(stock)
    if BACKEND != "jax":
        decayed(stock)
        assert_same(values(model.weights), values(stock.weights))
    assert twice[1] != 1.0


@SCHEDULE_FREE
def test_schedule_free_adamw_that_is_built_inside_the_step():
    """On TensorFlow every weight is at plus or minus the rate after one step, with stock Keras, too."""
    model, before_fit = chain(), chain()
    for each in (model, before_fit):
        each.compile(difflr.optimizers.ScheduleFreeAdamW(1e-3), loss="mse")
    before_fit.optimizer.build(before_fit.trainable_variables)
    start = values([model.get_layer("body").kernel])[0]
    fit(before_fit)
    assert np.abs(values([before_fit.get_layer("body").kernel])[0] - start).max() < 2e-3
    if BACKEND == "tensorflow":
        with pytest.warns(UserWarning, match=r"Build it before `fit`: `optimizer.build\(model.trainable_variables\)`"):
            fit(model)
        assert np.abs(values([model.get_layer("body").kernel])[0]).max() < 2e-3, (
            "Keras has mended this: remove the warning"
        )
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(model)
        assert_same(values(model.weights), values(before_fit.weights))
