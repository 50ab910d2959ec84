"""`fine_tune`: the rates that every layer really gets, on every kind of data, and what an interrupt leaves behind."""

import keras
import numpy as np
import pytest

import difflr
from difflr.choosing.examples import num_batches
from difflr.choosing.stages import cycles
from saving.conftest import saying

BATCH = 8
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
NAMED_MUON = pytest.mark.skipif(keras.__version__.startswith("3.12."), reason="which Keras finds by name since 3.13")
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 4)).astype("float32"), (np.arange(24) % 3).astype("int32")


def make_model(seed=0):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(6, activation="relu", name=name) for name in ("stem", "block")]
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(3, name="head")])


def weights(model):
    return {layer.name: [np.array(keras.ops.convert_to_numpy(v)) for v in layer.variables] for layer in model.layers}


def moved(before, after, name):
    return max(np.abs(b - a).max() for b, a in zip(before[name], after[name], strict=True))


class Snapshots(keras.callbacks.Callback):
    """The weights after every epoch."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_epoch_end(self, epoch, logs=None):
        self.weights.append(weights(self.model))


def tuned(model, *args, **kwargs):
    return difflr.fine_tune(model, *(args or (X, Y)), **{"epochs": 2, "loss": LOSS, "verbose": 0, **kwargs})


# -- the rates


def fastai_rate(position, start, middle, end, rise):
    """`combined_cos` of fastai at a position 0..1."""
    low, high, part = (
        (start, middle, position / rise) if position < rise else (middle, end, (position - rise) / (1 - rise))
    )
    return low + (1 + np.cos(np.pi * (1 - part))) * (high - low) / 2


def rates(base, head, steps):
    """The base rate at each step."""
    first, second = (phase.schedule for phase in cycles(1, head, steps))
    factors = [first(step) for step in range(head)] + [second(step) for step in range(steps)]
    return [base * float(keras.ops.convert_to_numpy(factor)) for factor in factors]


@pytest.mark.same_everywhere
def test_the_cycles_are_fastais():
    """fastai's last step is just short of the end of its cycle; here, as in torch, the cycle ends with it."""
    head, steps, base = 100, 300, 2e-3
    ours = np.array(rates(base, head, steps))
    first = [fastai_rate(step / head, base / 25, base, base / 1e5, 0.99) for step in range(head)]
    second = [fastai_rate(step / steps, base / 10, base / 2, base / 2 / 1e5, 0.3) for step in range(steps)]
    np.testing.assert_allclose(ours[: head - 2], first[: head - 2], atol=0.03 * base)
    np.testing.assert_allclose(ours[head:], second, atol=0.01 * base)
    assert ours[:head].max() == pytest.approx(base, rel=1e-3)
    assert ours[head:].max() == pytest.approx(base / 2, rel=1e-3)
    assert ours[-1] == pytest.approx(base / 2 / 1e5, rel=1e-2)


def test_every_layer_moves_by_its_rate():
    """With SGD, gradient clipped to 1 by sign: each weight moves by the sum of its rates at most; Dense biases exactly."""
    model = make_model()
    before = weights(model)
    snapshots = Snapshots()
    optimizer = keras.optimizers.SGD()  # its rate gives way
    tuned(
        model,
        optimizer=optimizer,
        epochs=1,
        freeze_epochs=1,
        batch_size=BATCH,
        callbacks=[snapshots],
        learning_rate=0.1,
        rate_ratio=100,
        shuffle=False,
    )
    assert moved(before, snapshots.weights[0], "stem") == moved(before, snapshots.weights[0], "block") == 0
    assert moved(before, snapshots.weights[0], "head") > 0
    rows = {row.path: row for row in model.optimizer.plan.rows}
    assert rows["stem/kernel"].multiplier == pytest.approx(0.01)
    assert rows["block/kernel"].multiplier == pytest.approx(0.1)
    assert rows["head/kernel"].multiplier == pytest.approx(1.0)
    # the same by hand, with numpy's gradients of the same steps
    by_hand = make_model()
    by_hand.set_weights(flat(before))
    schedule, step = rates(0.1, 3, 3), 0
    for names in (["head"], ["stem", "block", "head"]):
        for start in range(0, 24, BATCH):
            gradients = gradients_of(by_hand, X[start : start + BATCH], Y[start : start + BATCH])
            rate = schedule[step]
            for name in names:
                for variable, gradient in zip(by_hand.get_layer(name).variables, gradients[name], strict=True):
                    factor = {"stem": 0.01, "block": 0.1, "head": 1.0}[name]
                    variable.assign(keras.ops.convert_to_numpy(variable) - rate * factor * gradient)
            step += 1
    for ours, expected in zip(model.get_weights(), by_hand.get_weights(), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-6)


def flat(by_layer):
    return [value for values in by_layer.values() for value in values]


def gradients_of(model, x, y):
    """The gradients of the mean cross-entropy, in numpy."""
    (a, a0), (b, b0), (c, c0) = (weights(model)[name] for name in ("stem", "block", "head"))
    h1 = np.maximum(x @ a + a0, 0)
    h2 = np.maximum(h1 @ b + b0, 0)
    logits = h2 @ c + c0
    p = np.exp(logits - logits.max(1, keepdims=True))
    d = (p / p.sum(1, keepdims=True) - np.eye(3)[y]) / len(y)
    d2 = (d @ c.T) * (h2 > 0)
    d1 = (d2 @ b.T) * (h1 > 0)
    return {"head": [h2.T @ d, d.sum(0)], "block": [h1.T @ d2, d2.sum(0)], "stem": [x.T @ d1, d1.sum(0)]}


@pytest.mark.same_everywhere
def test_without_a_frozen_epoch_there_is_one_phase():
    model = make_model()
    before, snapshots = weights(model), Snapshots()
    history = tuned(model, freeze_epochs=0, callbacks=snapshots)
    assert len(history.epoch) == 2
    assert moved(before, snapshots.weights[0], "stem") > 0


@pytest.mark.same_everywhere
def test_rate_ratio_and_plan():
    model = make_model()
    tuned(model, rate_ratio=4)
    assert model.optimizer.plan.multipliers[model.get_layer("stem").kernel] == pytest.approx(0.25)
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "block": 0.5})
    before = weights(model)
    tuned(model, plan=plan)
    assert moved(before, weights(model), "stem") == 0
    assert moved(before, weights(model), "block") > 0
    assert [row.multiplier for row in model.optimizer.plan.rows] == [row.multiplier for row in plan.rows]


# -- everything that fit takes


def datasets():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        yield "tf.data", lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH), {}
    if keras.backend.backend() == "torch":
        import torch

        data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        yield "DataLoader", lambda: torch.utils.data.DataLoader(data, batch_size=BATCH), {}
    yield "PyDataset", Batches, {}
    yield "generator", endless, {"steps_per_epoch": 3}


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        part = slice(index * BATCH, (index + 1) * BATCH)
        return X[part], Y[part]


def endless():
    while True:
        yield from (Batches()[index] for index in range(3))


@pytest.mark.same_everywhere(but=["tf.data"])
@pytest.mark.parametrize(("make", "more"), [pytest.param(make, more, id=name) for name, make, more in datasets()])
@pytest.mark.filterwarnings("ignore:Your `PyDataset` class should call")
def test_other_data_gives_what_arrays_give(make, more):
    expected, model = make_model(), make_model()
    first = tuned(expected, batch_size=BATCH, shuffle=False, validation_data=(X, Y), metrics=["accuracy"])
    second = tuned(model, make(), shuffle=False, validation_data=(X, Y), metrics=["accuracy"], **more)
    for name, values in first.history.items():
        np.testing.assert_allclose(second.history[name], values, rtol=1e-4, err_msg=name)
    assert set(first.history) == {"loss", "accuracy", "val_loss", "val_accuracy", "phase"}
    assert first.epoch == [0, 1, 2]


@pytest.mark.same_everywhere
def test_arrays_with_a_validation_split_and_a_part_of_a_batch():
    model, rates = make_model(), []
    head = id(model.layers[-1].kernel)
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: rates.append(
            model.optimizer.effective_rates()[head] / float(model.optimizer.learning_rate)
        )
    )
    tuned(model, batch_size=5, validation_split=0.25, callbacks=[note])  # 18 of 24, in 4 batches
    assert int(keras.ops.convert_to_numpy(model.optimizer.iterations)) == 3 * 4
    assert rates[0] == pytest.approx(1 / 1e5, rel=1e-3)  # the first cycle is at its end


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (([np.ones((10, 2)), np.ones((10, 3))],), 1),
        (({"a": np.ones((33, 2))},), 2),
        ((np.ones((10, 2)), 3), 4),
        ((np.ones((10, 2)), 3, 0.25), 3),  # Keras trains on floor(7.5) of them
        ((iter([]), None, 0.0, 7), 7),
        ((Batches(),), 3),
    ],
)
@pytest.mark.filterwarnings("ignore:Your `PyDataset` class should call")
def test_batches_are_counted_as_keras_does(arguments, expected):
    assert num_batches(*arguments) == expected


def test_data_without_batches_is_said():
    with pytest.raises(ValueError, match="has no batches. Received: ndarray with 0 batches"):
        num_batches(np.ones((0, 2)))


# -- the optimizer and the compiled model


@pytest.mark.same_everywhere
def test_a_compiled_model_keeps_loss_metrics_and_the_kind_of_its_optimizer():
    def own_loss(y, logits):
        return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)

    model = make_model()
    model.compile(keras.optimizers.SGD(123.0, momentum=0.7, nesterov=True), loss=own_loss, metrics=["accuracy"])
    history = difflr.fine_tune(model, X, Y, epochs=1, learning_rate=1e-2, verbose=0)
    assert isinstance(model.optimizer, difflr.optimizers.SGD)
    assert (model.optimizer.momentum, model.optimizer.nesterov) == (0.7, True)
    assert set(history.history) == {"loss", "accuracy", "phase"}


@pytest.mark.same_everywhere
def test_the_default_is_adamw():
    model = make_model()
    tuned(model)
    assert isinstance(model.optimizer, difflr.optimizers.AdamW)
    assert (model.optimizer.weight_decay, model.optimizer.global_clipnorm) == (0.01, 1.0)


@pytest.mark.same_everywhere
def test_what_layers_declare_comes_on_top():
    inputs = keras.Input((4,))
    body = difflr.layers.Dense(6, name="body", W_learning_rate_multiplier=0.5)
    model = difflr.Model(inputs, keras.layers.Dense(3, name="head")(body(inputs)))
    tuned(model, rate_ratio=10)
    multipliers = model.optimizer.plan.multipliers
    assert multipliers[body.kernel] == pytest.approx(0.05)
    assert multipliers[body.bias] == pytest.approx(0.1)


@pytest.mark.same_everywhere
def test_the_plan_of_a_differential_optimizer_is_used():
    model = make_model()
    plan = difflr.Plan(model, {"stem": difflr.FROZEN, "block": 0.5})
    before = weights(model)
    tuned(model, optimizer=difflr.optimizers.Adam(multipliers=plan))
    assert moved(before, weights(model), "stem") == 0
    assert model.optimizer.plan.multipliers[model.get_layer("block").kernel] == 0.5
    tuned(model)  # once more: the same optimizer's settings and plan
    assert isinstance(model.optimizer, difflr.optimizers.Adam)
    assert model.optimizer.plan.multipliers[model.get_layer("block").kernel] == 0.5


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "Adadelta", "Ftrl", "Adafactor"])
def test_a_default_rate_that_is_not_for_this_optimizer_is_warned_of(name):
    with pytest.raises(UserWarning, match=f"may be far from right for {name}. Give a `learning_rate`"):
        tuned(make_model(), optimizer=name, learning_rate=None, epochs=1)
    tuned(make_model(), optimizer=name, learning_rate=0.1, epochs=1)


@pytest.mark.same_everywhere
@pytest.mark.parametrize("name", ["adam", "rmsprop", "nadam", "adamax", "lion", pytest.param("muon", marks=NAMED_MUON)])
def test_optimizers_with_steps_of_adams_size_take_the_default_rate(name):
    tuned(make_model(), optimizer=name, learning_rate=None, epochs=1)


@pytest.mark.same_everywhere
def test_under_mixed_float16():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make_model()
    finally:
        keras.config.set_dtype_policy("float32")
    before, snapshots = weights(model), Snapshots()
    for optimizer in ("sgd", keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=8.0)):
        tuned(model, optimizer=optimizer, learning_rate=0.1, callbacks=snapshots)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert model.optimizer.initial_scale == 8.0
    assert moved(before, snapshots.weights[0], "stem") == 0
    assert moved(before, snapshots.weights[1], "stem") > 0
    assert len(model.trainable_variables) == 6


@pytest.mark.same_everywhere
def test_a_second_call_goes_on_from_the_first():
    model = make_model()
    first = tuned(model, epochs=5, learning_rate=0.05)
    second = difflr.fine_tune(model, X, Y, epochs=1, learning_rate=0.01, freeze_epochs=0, verbose=0)
    assert second.history["loss"][0] < first.history["loss"][1]


@pytest.mark.same_everywhere
def test_the_tuned_model_is_saved_and_loaded(tmp_path):
    model = make_model()
    tuned(model, epochs=1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert loaded.optimizer.plan == model.optimizer.plan


# -- interrupts


class Interrupt(keras.callbacks.Callback):
    def __init__(self, batch):
        super().__init__()
        self.left = batch

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


@pytest.mark.same_everywhere(but=["while everything is trainable"])
@pytest.mark.parametrize("batch", [2, 5], ids=["while the head is alone", "while everything is trainable"])
def test_an_interrupt_leaves_a_model_to_be_used(batch):
    model = make_model()
    before = weights(model)
    with pytest.raises(KeyboardInterrupt):
        tuned(model, batch_size=BATCH, callbacks=[Interrupt(batch)])
    after = weights(model)
    assert moved(before, after, "head") > 0
    assert (moved(before, after, "stem") > 0) == (batch == 5)
    assert all(layer.trainable for layer in model.layers)
    assert len(model.trainable_variables) == 6
    assert model.history.epoch == list(range((batch - 1) // 3))
    model.fit(X, Y, verbose=0)  # goes on, with everything trainable
    assert moved(after, weights(model), "stem") > 0


@pytest.mark.same_everywhere
@pytest.mark.parametrize("batch", [5, 8])
def test_backup_and_restore_goes_on_in_the_phase(tmp_path, batch):
    expected = make_model()
    tuned(expected, batch_size=BATCH, shuffle=False)
    interrupted = make_model()
    with pytest.raises(KeyboardInterrupt):
        tuned(
            interrupted,
            batch_size=BATCH,
            shuffle=False,
            callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup"), Interrupt(batch)],
        )
    resumed = make_model(seed=1)
    history = tuned(
        resumed, batch_size=BATCH, shuffle=False, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    )
    assert history.epoch == list(range((batch - 1) // 3, 3))
    for ours, theirs in zip(resumed.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def test_training_that_is_stopped_early_leaves_everything_live():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = make_model()
    with saying("phase 2 did not begin"):
        assert len(tuned(model, callbacks=Stop()).epoch) == 1
    assert len(model.trainable_variables) == 6


# -- errors, all of them before anything is trained


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "`epochs` counts epochs and must be an integer >= 1. Received: 0"),
        ({"epochs": 2.5}, ValueError, "Received: 2.5"),
        ({"freeze_epochs": -1}, ValueError, "`freeze_epochs` must be a finite number >= 0. Received: -1"),
        ({"learning_rate": 0}, ValueError, "`learning_rate` must be above 0"),
        ({"learning_rate": "1e-3"}, ValueError, "without quotes"),
        ({"rate_ratio": 0.5}, ValueError, "`rate_ratio` must be a number >= 1"),
        ({"normalization": "off"}, ValueError, "must be 'frozen', 'trained' or None. Received: 'off'"),
        ({"head": "hed"}, ValueError, "head"),
        ({"loss": None}, ValueError, "not compiled, so a `loss` is needed"),
        ({"plan": {"stem": 0.1}}, TypeError, "`plan` must be a difflr.Plan"),
        ({"optimizer": 3}, ValueError, "optimizer"),
        ({"learning_rate": -1}, ValueError, "`learning_rate` must be a finite number > 0"),
        ({"batchsize": 8}, TypeError, "no argument `batchsize`. Did you mean 'batch_size'"),
        ({"rate_ration": 8}, TypeError, "no argument `rate_ration`. Did you mean 'rate_ratio'"),
    ],
)
def test_bad_arguments_change_nothing(arguments, error, message):
    model = make_model()
    before = model.get_weights()
    with pytest.raises(error, match=message):
        tuned(model, **arguments)
    assert not model.compiled
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("other", [{"rate_ratio": 10}, {"normalization": "frozen"}])
def test_a_plan_contradicts_other_settings(other):
    model = make_model()
    with pytest.raises(ValueError, match=f"A `plan` sets .*: leave out `{next(iter(other))}`"):
        tuned(model, plan=difflr.Plan(model), **other)


def test_a_generator_needs_its_length():
    with pytest.raises(ValueError, match="generator without a length. Give `steps_per_epoch`"):
        tuned(make_model(), endless())


@pytest.mark.same_everywhere
def test_a_frozen_body_is_said():
    model = make_model()
    for name in ("stem", "block"):
        model.get_layer(name).trainable = False
    with pytest.raises(ValueError, match="The body is frozen.*freeze_epochs=0"):
        tuned(model)
    tuned(model, freeze_epochs=0)


def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="not built"):
        tuned(keras.Sequential([keras.layers.Dense(3)]))


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="Keras before 3.15")
def test_several_optimizers_are_refused():
    optimizer = keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {}))
    with pytest.raises(TypeError, match="needs one optimizer"):
        tuned(make_model(), optimizer=optimizer)


@pytest.mark.same_everywhere
class TestWhatCannotBeFineTuned:
    def test_no_model(self):
        for wrong in (keras.layers.Dense(3), None, keras.Model):
            with pytest.raises(TypeError, match="`model` must be a Keras model"):
                difflr.fine_tune(wrong, X, Y, epochs=1, loss=LOSS)

    @pytest.mark.parametrize(("x", "fix"), [("images/", "see difflr.data"), (X.tolist(), r"np\.array\(x\)")])
    def test_no_data(self, x, fix):
        model = make_model()
        with pytest.raises(TypeError, match=fix):
            difflr.fine_tune(model, x, Y, epochs=1, loss=LOSS)
        assert not model.compiled

    def test_a_head_without_a_body(self):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="head")])
        with pytest.raises(ValueError, match="has only a head, so there is no body"):
            difflr.fine_tune(model, X, Y, epochs=1, loss=LOSS)

    def test_rules_go_by_another_name(self):
        with pytest.raises(TypeError, match=r"no argument `multipliers`. Did you mean 'plan'\?"):
            difflr.fine_tune(make_model(), X, Y, epochs=1, loss=LOSS, multipliers=0.5)
