"""What is logged is what happened: rates, updates and gradients measured apart from the logger."""

import csv
import math
import re

import keras
import numpy as np
import pytest

import difflr
from difflr.optimizers.unwrap import effective_rates
from optimizers.steps import BACKEND, X, Y, chain, values

CALLBACKS = keras.callbacks


pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(autouse=True)
def same_numbers():
    keras.utils.set_random_seed(0)


def compiled(optimizer=None, rules=None, wrapper=None, eager=BACKEND == "tensorflow", **settings):
    """Eager, where that is quicker and it is not about the compiled step."""
    model = chain()
    plan = difflr.Plan(model, rules or {"body": 0.1, "head/bias": difflr.FROZEN})
    optimizer = optimizer or difflr.optimizers.SGD(0.1, multipliers=plan, **settings)
    model.compile(wrapper(optimizer) if wrapper else optimizer, loss="mse", run_eagerly=eager)
    return model


def logged(model, freq="epoch", epochs=2, batch_size=4, callbacks=(), **arguments):
    """The history of a `fit` with the logger."""
    callbacks = [*callbacks, difflr.GroupLogger(freq)]
    return model.fit(
        X, Y, epochs=epochs, batch_size=batch_size, shuffle=False, verbose=0, callbacks=callbacks, **arguments
    ).history


def norm(arrays):
    return math.sqrt(sum(float(np.sum(np.square(np.asarray(array, "float64")))) for array in arrays))


class Weights(CALLBACKS.Callback):
    """Notes the weights before and after each batch."""

    def __init__(self):
        super().__init__()
        self.before, self.after = [], []

    def now(self):
        if BACKEND == "jax":
            self.model.jax_state_sync()
        return {v.path: value for v, value in zip(self.model.variables, values(self.model.variables), strict=True)}

    def on_train_batch_begin(self, batch, logs=None):
        self.before.append(self.now())

    def on_train_batch_end(self, batch, logs=None):
        self.after.append(self.now())


def test_every_measure_is_what_happened():
    model, seen = compiled(eager=False), Weights()
    history = logged(model, freq=1, epochs=1, batch_size=8, callbacks=[seen])
    body = [path for path in seen.before[0] if "body" in path]
    moved = [seen.after[0][path] - seen.before[0][path] for path in body]
    assert history["learning_rate/body"] == [pytest.approx(0.01)]
    assert history["learning_rate/head/kernel"] == [pytest.approx(0.1)]
    assert history["update_ratio/body"][0] == pytest.approx(norm(moved) / norm(seen.before[0][p] for p in body), 1e-4)
    # SGD without momentum: the update is the rate times the gradient.
    assert history["gradient_norm/body"][0] == pytest.approx(norm(moved) / 0.01, 1e-4)
    assert not any("head/bias" in name or name.endswith("/head") for name in history)


def test_training_is_the_same_bit_for_bit():
    with_logger, without = compiled(momentum=0.9, eager=False), None
    logged(with_logger)
    keras.utils.set_random_seed(0)
    without = compiled(momentum=0.9, eager=False)
    without.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0)
    for mine, theirs in zip(values(with_logger.variables), values(without.variables), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert "train_step" not in vars(with_logger)


def test_whoever_comes_before_it_sees_its_logs_too(tmp_path, capsys):
    model = compiled()
    file = tmp_path / "log.csv"
    callbacks = [CALLBACKS.CSVLogger(file), CALLBACKS.LambdaCallback(on_epoch_end=lambda e, logs: seen.append(logs))]
    seen = []
    history = logged(model, epochs=1, callbacks=callbacks)
    with open(file) as lines:
        (row,) = csv.DictReader(lines)
    names = [f"{m}/{g}" for m in ("learning_rate", "update_ratio", "gradient_norm") for g in ("body", "head/kernel")]
    for name in names:
        assert float(row[name]) == seen[0][name] == history[name][0]


def test_the_progress_bar_keeps_its_length(capsys):
    model = compiled()
    model.fit(X, Y, epochs=1, verbose=2, callbacks=[difflr.GroupLogger(1)])
    assert "loss" in (text := capsys.readouterr().out)
    assert "update_ratio" not in text


def test_clipping_and_the_scale_of_the_loss_are_not_in_the_gradient():
    found = []
    for settings in ({}, {"global_clipnorm": 0.01}, {"wrapper": keras.optimizers.LossScaleOptimizer}):
        keras.utils.set_random_seed(0)
        found.append(logged(compiled(**settings), epochs=1)["gradient_norm/head/kernel"][0])
    assert found == pytest.approx([found[0]] * 3, rel=1e-5)
    assert found[0] > 0.1


def test_a_step_is_measured_in_which_the_weights_change():
    model, seen = compiled(gradient_accumulation_steps=3), Weights()
    history = logged(model, epochs=2, batch_size=2, callbacks=[seen])  # 8 batches: updates after 3, 6 and 9, ...
    assert all(value > 0 for value in history["update_ratio/body"])


@pytest.mark.same_everywhere
def test_every_so_many_batches():
    model, batches = compiled(), []
    note = CALLBACKS.LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(dict(logs)))
    history = logged(model, freq=3, batch_size=1, epochs=1, callbacks=[note])
    key = "update_ratio/body"
    assert [number for number, logs in enumerate(batches) if key in logs] == [2, 5]
    assert history[key][0] == pytest.approx((batches[2][key] + batches[5][key]) / 2)


@pytest.mark.same_everywhere
def test_phases_have_the_same_names_all_along():
    model = compiled(rules={"body/bias": 0.5})
    phases = difflr.Phases([difflr.Phase(trainable="head", epochs=1), difflr.Phase(trainable="*")])
    history = logged(model, epochs=3, callbacks=[difflr.PhaseScheduler(phases)])
    assert [each == 0 for each in history["learning_rate/body/kernel"]] == [True, False, False]
    assert [each == 0 for each in history["update_ratio/body/kernel"]] == [True, False, False]
    assert [each == 0 for each in history["gradient_norm/body/bias"]] == [True, False, False]
    assert all(each > 0 for each in history["update_ratio/head"])
    assert {len(each) for each in history.values()} == {3}


@pytest.mark.same_everywhere
def test_schedules_and_callbacks_of_the_rate_are_in_it():
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.1, 0.02])
    model = compiled(difflr.optimizers.SGD(rate, multipliers=lambda v: 0.1 if "body" in v.path else 1.0))
    history = logged(model, epochs=2)
    assert history["learning_rate/body"] == pytest.approx([0.01, 0.002])
    assert effective_rates(model.optimizer)[id(model.get_layer("head").kernel)] == pytest.approx(0.02)


@pytest.mark.same_everywhere
def test_multi_and_stock_optimizers():
    model = compiled(keras.optimizers.SGD(0.1))
    assert logged(model, epochs=1)["learning_rate/all"] == [pytest.approx(0.1)]
    if not hasattr(keras.optimizers, "MultiOptimizer"):
        return
    parts = {"body": difflr.optimizers.Adam(0.1, multipliers=0.5), "head": keras.optimizers.SGD(0.2)}
    model = compiled(keras.optimizers.MultiOptimizer(lambda v: parts[v.path.split("/")[-2]]))
    history = logged(model, epochs=1)
    assert history["learning_rate/body"] == [pytest.approx(0.05)]
    assert history["learning_rate/head"] == [pytest.approx(0.2)]
    assert history["gradient_norm/head"][0] > 0


@pytest.mark.same_everywhere
def test_weights_that_are_0_have_a_ratio_that_is_finite():
    model = compiled(rules={"body": 0.1, "head/bias": 2.0})
    bias = model.get_layer("head").bias
    assert not np.any(values([bias])[0])
    history = logged(model, freq=1, epochs=1, batch_size=8)
    assert history["update_ratio/head/bias"] == [1.0]  # the update is all there is
    assert all(np.isfinite(value) for entries in history.values() for value in entries)
    model.optimizer.learning_rate = 0.0
    bias.assign(np.zeros(bias.shape))
    assert logged(model, freq=1, epochs=1)["update_ratio/head/bias"] == [0.0]


@pytest.mark.same_everywhere
def test_names_of_groups_suit_every_logger():
    """What MLflow allows, the strictest of them; and no name is a folder of another one, as its metrics are files."""
    rules = [("kind:bias", 0.5), ("body", {"multiplier": 0.1, "name": "my body"})]
    names = list(logged(compiled(rules=rules), epochs=1))
    assert "learning_rate/my body" in names
    assert [name for name in names if not re.fullmatch(r"[\w\-. :/]{1,250}", name)] == []
    assert not any(one.startswith(f"{other}/") for one in names for other in names)


@pytest.mark.filterwarnings("ignore:Your input ran out of data:UserWarning")
def test_streams_of_unknown_length():
    batches = ((X[:4], Y[:4]) for _ in range(5))
    model = compiled()
    history = model.fit(batches, epochs=1, verbose=0, callbacks=[difflr.GroupLogger()]).history
    assert history["update_ratio/body"][0] > 0


def test_what_it_refuses():
    for freq in ("batch", 0, -1, 2.5, True, None):
        with pytest.raises(ValueError, match="`freq` must be 'epoch' or a number of batches"):
            difflr.GroupLogger(freq)
    with pytest.raises(ValueError, match="two GroupLoggers"):
        compiled().fit(X, Y, verbose=0, callbacks=[difflr.GroupLogger(), difflr.GroupLogger(2)])


def test_an_interrupted_step_leaves_the_model_as_it_was():
    model = compiled()

    class Fails(keras.losses.Loss):
        def call(self, y_true, y_pred):
            raise RuntimeError("on purpose")

    model.compile(model.optimizer, loss=Fails())
    with pytest.raises(RuntimeError, match="on purpose"):
        model.fit(X, Y, verbose=0, callbacks=[difflr.GroupLogger(1)])
    assert "train_step" not in vars(model)
