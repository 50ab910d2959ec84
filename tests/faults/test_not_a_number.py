"""A NaN in the gradient of one group: what Keras does happens, and the group is named."""

import keras
import numpy as np
import pytest

import difflr

X = np.ones((8, 2), "float32")
Y = np.ones((8, 2), "float32")
BAD = 3  # the batch with which the gradient of one layer is NaN; the loss is not


@keras.saving.register_keras_serializable(package="faults")
class NanGradient(keras.layers.Layer):
    """Adds 0, as the root of a weight that is 0 where the input says so: there its gradient is NaN."""

    def build(self, shape):
        self.weight = self.add_weight(shape=(), initializer="zeros", name="weight")

    def call(self, x):
        ops = keras.ops
        bad = ops.cast(x[:, :1] == BAD, "float32")
        return x + ops.sqrt(ops.abs(self.weight) * bad + 1.0 - bad) - 1.0 + bad


def new_model(optimizer, rules=None, scaled=False):
    keras.utils.set_random_seed(0)
    layers = [NanGradient(name="bad"), keras.layers.Dense(2, name="body"), keras.layers.Dense(2, name="head")]
    model = keras.Sequential([keras.Input((2,)), *layers])
    if issubclass(optimizer, difflr.optimizers.DifferentialOptimizer):
        optimizer = optimizer(0.01, multipliers=difflr.Plan(model, rules or {"bad": 1.0, "body": 0.5, "head": 0.25}))
    else:
        optimizer = optimizer(0.01)
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0) if scaled else optimizer
    model.compile(optimizer, loss="mse", run_eagerly=keras.backend.backend() == "tensorflow")
    return model


def data(bad_batch=1, batches=3):
    x = np.concatenate([X] * batches)
    x[bad_batch * 8] = BAD
    return x, np.concatenate([Y] * batches)


def fit(model, *callbacks):
    model.fit(*data(), batch_size=8, shuffle=False, verbose=0, callbacks=list(callbacks))
    return [np.array(weight) for weight in model.get_weights()]


@pytest.mark.same_everywhere(but=["Adam-True"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_as_in_keras(name, scaled):
    stock = fit(new_model(getattr(keras.optimizers, name), scaled=scaled))
    all_alike = {"bad": 1.0}
    ours = fit(new_model(getattr(difflr.optimizers, name), all_alike, scaled))
    for mine, theirs in zip(ours, stock, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    assert np.isfinite(ours[0]) == scaled  # the step with the NaN was left out


@pytest.mark.same_everywhere
def test_the_group_in_which_it_began(capsys):
    model = new_model(difflr.optimizers.SGD)
    fit(model, difflr.TerminateOnNaN(freq=1))
    said = capsys.readouterr().out
    assert "Batch 1: the loss is" in said
    assert "weights that are not finite in: bad. Training stops." in said
    assert "the loss is nan" not in said
    assert np.isfinite(model.get_layer("head").get_weights()[0]).all()


def test_when_the_loss_is_nan():
    model, (x, y) = new_model(difflr.optimizers.SGD), data()
    x[8] = np.nan
    stop = difflr.TerminateOnNaN(raise_error=True)
    with pytest.raises(RuntimeError, match="Batch 1: the loss is nan; weights that are not finite in: .*body, head"):
        model.fit(x, y, batch_size=8, shuffle=False, verbose=0, callbacks=[stop])


def test_nothing_is_looked_at_without_a_nan(monkeypatch):
    def fail(self):
        raise AssertionError

    monkeypatch.setattr(difflr.TerminateOnNaN, "_not_finite", fail)
    model = new_model(difflr.optimizers.SGD)
    model.fit(X, Y, verbose=0, callbacks=[difflr.TerminateOnNaN()])


def test_a_loss_that_is_not_finite_with_weights_that_are(capsys):
    model = new_model(keras.optimizers.SGD)
    callback = difflr.TerminateOnNaN()
    callback.set_model(model)
    callback.on_train_batch_end(0, {"loss": np.inf})
    assert "Batch 0: the loss is inf; all weights are finite." in capsys.readouterr().out
    assert model.stop_training
    model.get_layer("head").kernel.assign(np.full((2, 2), np.nan))
    callback.on_train_batch_end(1, {"loss": np.nan})
    assert "head/kernel. Training stops" in capsys.readouterr().out


@pytest.mark.parametrize("freq", [0, 1.5, True])
def test_freq(freq):
    with pytest.raises(ValueError, match="integer >= 1, or None. Received"):
        difflr.TerminateOnNaN(freq=freq)
