"""`fine_tune` with a choice, with "auto", and the body that is not spoiled."""

import warnings

import keras
import numpy as np
import pytest

import difflr
from choosing.networks import LOSS, clusters, network
from difflr.choosing import layout, trial
from difflr.fine_tuning.keep_better_head import KeepBetterHead

pytestmark = pytest.mark.usefixtures("quick_compilation")
X, Y = clusters()
SETTINGS = {"epochs": 1, "loss": LOSS, "batch_size": 16, "verbose": 0}


def weights(model):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in model.variables]


def a_choice(model, rules, learning_rate=1e-2, head_first=True):
    plan = difflr.Plan(model, rules)
    return difflr.Choice(learning_rate, plan, head_first, "by hand", [], difflr.choosing.Cost(0, 0, 1), True)


@pytest.mark.same_everywhere
def test_a_choice_is_what_is_trained(eager_steps):
    first, second = network(), network()
    for model in (first, second):
        keras.utils.set_random_seed(1)
        plan = difflr.Plan(model, {"stem": 0.5})
        rate = (
            {"learning_rate": a_choice(model, {"stem": 0.5})}
            if model is first
            else {"learning_rate": 1e-2, "plan": plan}
        )
        history = difflr.fine_tune(model, X, Y, **SETTINGS, **rate)
        assert len(history.epoch) == 2
    for ours, expected in zip(weights(first), weights(second), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.same_everywhere
def test_the_head_alone_trains_as_long(eager_steps):
    model = network()
    before = weights(model)
    choice = a_choice(model, {"stem": difflr.FROZEN, "norm": difflr.FROZEN, "block": difflr.FROZEN}, head_first=False)
    history = difflr.fine_tune(model, X, Y, learning_rate=choice, **SETTINGS)
    assert len(history.epoch) == 2
    changed = [not np.array_equal(b, a) for b, a in zip(before, weights(model), strict=True)]
    assert changed[-2:] == [True, True]
    assert not any(changed[:4])
    assert history.choice is choice


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": "fast"}, 'a number, a difflr.Choice or "auto"'),
        ({"learning_rate": "auto", "rate_ratio": 3}, "leave out `rate_ratio`"),
    ],
)
def test_what_contradicts_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        difflr.fine_tune(network(), X, Y, **SETTINGS, **arguments)
    model = network()
    with pytest.raises(ValueError, match="A choice sets .* leave out `rate_ratio`"):
        difflr.fine_tune(model, X, Y, learning_rate=a_choice(model, {"stem": 0.5}), rate_ratio=3, **SETTINGS)


@pytest.mark.same_everywhere
def test_auto_searches_first_and_goes_on_after_an_interrupt(tmp_path, monkeypatch, eager_steps):
    monkeypatch.setattr(layout, "FEW_STEPS", 18)
    settings = {**SETTINGS, "batch_size": 32}
    expected, interrupted = network(), network()
    keras.utils.set_random_seed(2)
    choice = difflr.fine_tune(expected, X, Y, learning_rate="auto", **settings).choice
    keep = [difflr.BackupAndRestore(tmp_path / "backup")]
    run, made = trial.Trials.run, []

    def breaking(self, *args):
        made.append(1)
        if len(made) == 3:
            raise KeyboardInterrupt
        return run(self, *args)

    monkeypatch.setattr(trial.Trials, "run", breaking)
    with pytest.raises(KeyboardInterrupt):
        difflr.fine_tune(interrupted, X, Y, learning_rate="auto", callbacks=keep, **settings)
    assert (tmp_path / "backup.choosing.json").exists()
    resumed = network()
    keras.utils.set_random_seed(2)
    found = difflr.fine_tune(resumed, X, Y, learning_rate="auto", callbacks=keep, **settings).choice
    assert found.trials == choice.trials
    assert found.cost.train_steps < choice.cost.train_steps
    assert list(tmp_path.iterdir()) == []
    for ours, other in zip(weights(resumed), weights(expected), strict=True):
        np.testing.assert_array_equal(ours, other)


class Spoil(keras.callbacks.Callback):
    """Turns the network into its opposite, for the last epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 3:
            for variable in self.model.get_layer("head").variables:
                variable.assign(-30 * keras.ops.convert_to_numpy(variable))


@pytest.mark.same_everywhere
@pytest.mark.parametrize("metrics", [["accuracy"], None])
def test_a_spoiled_body_is_put_back(metrics, eager_steps):
    model, kept = network(), []
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: kept.append(weights(model)))
    choice = a_choice(model, {}, learning_rate=3e-2)
    settings = {**SETTINGS, "epochs": 3, "callbacks": [note, Spoil()], "validation_data": (X, Y), "metrics": metrics}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        difflr.fine_tune(model, X, Y, learning_rate=choice, **settings)
    assert any("made the model worse than its head alone" in str(warning.message) for warning in caught)
    for ours, expected in zip(weights(model), kept[0], strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_body_that_got_better_stays(eager_steps):
    model = network()
    callback = KeepBetterHead(1)
    callback.set_model(model)
    callback.on_epoch_end(0, {"val_loss": 1.0, "val_accuracy": 0.5})
    model.get_layer("stem").bias.assign(np.ones(8))
    callback.on_epoch_end(1, {"val_loss": 2.0, "val_accuracy": 0.6})  # the metric counts, not the loss
    callback.on_train_end()
    assert keras.ops.convert_to_numpy(model.get_layer("stem").bias)[0] == 1
