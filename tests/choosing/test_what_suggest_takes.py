"""`suggest`: every kind of data, model, loss and optimizer; and where it says that it does not know."""

import keras
import numpy as np
import pytest

import difflr
from choosing.networks import LOSS, assert_unchanged, clusters, network, state_of
from difflr.choosing.examples import read_examples
from difflr.choosing.layout import budget_in_steps, layout_for

pytestmark = pytest.mark.usefixtures("quick_compilation")
SAME = pytest.mark.same_everywhere
X, Y = clusters(72)


def suggest(model, *data, **arguments):
    return difflr.suggest(
        model, *data, **{"epochs": 1, "loss": LOSS, "verbose": 0, "budget": 1.5, **arguments}
    )  # two trials


class Parts(keras.utils.PyDataset):
    def __init__(self, widths=None):
        super().__init__()
        self.widths = widths

    def __len__(self):
        return 6

    def __getitem__(self, index):
        part = slice(12 * index, 12 * index + 12)
        return X[part], Y[part]


def endless():
    while True:
        yield from (Parts()[index] for index in range(6))


class Walked:
    """A dataset of another library, such as Grain: it has a length and is walked through."""

    def __len__(self):
        return 6

    def __iter__(self):
        return (Parts()[index] for index in range(6))


def datasets():
    yield "PyDataset", Parts
    yield "generator", endless
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        yield "tf.data", lambda: tf.data.Dataset.from_tensor_slices((X, Y)).batch(12)
    if keras.backend.backend() == "torch":
        import torch

        tensors = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
        yield "DataLoader", lambda: torch.utils.data.DataLoader(tensors, batch_size=12)


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in datasets()])
def test_other_data_is_read_as_arrays_are(make):
    data = read_examples(make(), max_batches=6)
    assert (len(data), data.batch_size) == (72, 12)
    for ours, expected in zip(data.at(np.arange(72)), (X, Y), strict=True):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.same_everywhere
def test_a_generator_with_validation_data_gives_what_arrays_give(eager_steps):
    model, validation = network(), (X[:24], Y[:24])
    before = state_of(model)
    settings = {"validation_data": validation, "budget": 2.2}
    expected = suggest(model, X, Y, batch_size=12, **settings)
    found = suggest(model, endless(), steps_per_epoch=6, **settings)
    assert found.trials == expected.trials
    assert_unchanged(before, model)


@pytest.mark.same_everywhere
def test_anything_that_can_be_walked_through():
    data = read_examples(Walked())
    assert (len(data), data.batch_size) == (72, 12)
    weighted = read_examples({"a": X, "b": [X, X]}, {"one": Y}, np.ones(72), batch_size=8)
    assert weighted.at(np.array([3, 4]))[0]["b"][1].shape == (2, 6)
    with pytest.raises(ValueError, match="The data has no batches"):
        read_examples(iter([]))


@pytest.mark.same_everywhere
def test_batches_of_different_lengths_stay_whole():
    batches = [(np.ones((4, 3 + n % 2)), np.ones(4)) for n in range(6)]
    data = read_examples(iter(batches))
    assert data.whole_batches
    steps = data.steps(np.array([1, 4]), 5, seed=0)
    assert {steps[n][0].shape for n in range(steps.num_batches)} == {(4, 3), (4, 4)}


# -- models and losses


def regression():
    keras.utils.set_random_seed(0)
    body = keras.layers.Dense(6, activation="relu", name="body", bias_initializer="ones")
    model = keras.Sequential([keras.Input((6,)), body, keras.layers.Dense(1, name="head")])
    model.layers[0].bias.assign(np.full(6, 0.1, "float32"))
    return model, X[:, :1] * 2, "mse"


def own_loss():
    return regression()[0], X[:, :1], lambda y, outputs: keras.ops.mean(keras.ops.abs(y - outputs), axis=-1)


def two_outputs():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6,))
    body = keras.layers.Dense(6, activation="relu", name="body")
    hidden = body(inputs)
    body.bias.assign(np.full(6, 0.1, "float32"))
    outputs = {"a": keras.layers.Dense(3, name="a")(hidden), "b": keras.layers.Dense(1, name="b")(hidden)}
    return keras.Model(inputs, outputs), {"a": Y, "b": X[:, :1]}, {"a": LOSS, "b": "mse"}


class Own(keras.Model):
    """A subclass whose training step doubles the loss."""

    def __init__(self):
        super().__init__()
        self.body = keras.layers.Dense(6, activation="relu", name="body")
        self.head = keras.layers.Dense(3, name="head")

    def call(self, inputs):
        return self.head(self.body(inputs))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return 2 * super().compute_loss(x, y, y_pred, sample_weight)


def subclassed():
    keras.utils.set_random_seed(0)
    model = Own()
    model(X[:2])
    model.body.bias.assign(np.full(6, 0.1, "float32"))
    return model, Y, LOSS


def binary():
    model = regression()[0]
    model.add(keras.layers.Activation("sigmoid"))
    return model, (Y > 0).astype("int32"), "binary_crossentropy"


@pytest.mark.parametrize(
    "make", [two_outputs, *(pytest.param(m, marks=SAME) for m in (regression, subclassed, own_loss, binary))]
)
def test_every_model_and_loss(make, eager_steps):
    model, y, loss = make()
    before = state_of(model)
    choice = suggest(model, X, y, loss=loss, batch_size=12)
    assert len(choice.trials) >= 2
    assert all(np.isfinite(tried.loss) for tried in choice.trials)
    assert (choice.trials[0].accuracy is not None) == (make is binary)
    assert_unchanged(before, model)


@pytest.mark.same_everywhere
def test_one_hot_probabilities_and_sample_weights(eager_steps):
    model = network()
    model.add(keras.layers.Softmax())
    weights = np.ones(72, "float32")
    choice = suggest(model, X, np.eye(3)[Y], loss="categorical_crossentropy", sample_weight=weights, batch_size=12)
    assert choice.trials[0].accuracy is not None
    weighted = suggest(network(), X, Y, class_weight={0: 1.0, 1: 5.0, 2: 1.0}, batch_size=12)
    assert weighted.trials[0].loss != suggest(network(), X, Y, batch_size=12).trials[0].loss


@pytest.mark.same_everywhere
def test_mixed_float16_with_accumulated_gradients(eager_steps):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy("float32")
    model.get_layer("stem").bias.assign(np.full(8, 0.01, "float32"))
    before = state_of(model)
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=2)
    assert len(suggest(model, X, Y, optimizer=optimizer, batch_size=12).trials) >= 2
    assert_unchanged(before, model)


@pytest.mark.same_everywhere
def test_the_rates_of_adapters(eager_steps):
    model = network()
    for name in ("stem", "block"):
        model.get_layer(name).enable_lora(2)
    choice = suggest(model, X, Y, batch_size=12)
    assert any("LoRA+" in tried.profile for tried in choice.trials)


@pytest.mark.same_everywhere
def test_a_plan_or_rules_fix_their_part(eager_steps):
    model = network()
    plan = difflr.Plan(model, {"stem": 0.25})
    choice = suggest(model, X, Y, plan=plan, batch_size=12)
    assert choice.plan == plan
    assert {tried.profile for tried in choice.trials} == {"the given plan"}
    rules = {"stem": difflr.FROZEN, "norm": 0.125}
    choice = suggest(model, X, Y, plan=rules, batch_size=12, validation_data=(X[:24], Y[:24]), budget=3.5)
    assert choice.plan.row(model.get_layer("stem").kernel).frozen
    assert choice.plan.row(model.get_layer("norm").gamma).multiplier == 0.125
    assert len({tried.profile for tried in choice.trials}) > 1


# -- "I do not know"


def adafactor():
    return keras.optimizers.Adafactor(relative_step=True)


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"optimizer": keras.optimizers.Lamb}, "scales each layer's step itself"),
        ({"optimizer": adafactor}, "scales each layer's step itself"),
        ({"number": 12}, "too little data: 12 examples"),
        ({"fresh": True}, "looks freshly initialized"),
    ],
)
def test_what_cannot_be_known_is_told(arguments, reason):
    model = network(norm=False)
    if arguments.pop("fresh", False):
        for name in ("stem", "block"):
            model.get_layer(name).bias.assign(np.zeros(8))
    number = arguments.pop("number", 72)
    if callable(arguments.get("optimizer")):
        arguments["optimizer"] = arguments["optimizer"]()
    choice = suggest(model, X[:number], Y[:number], batch_size=4, **arguments)
    assert reason in choice.reason
    assert "the defaults of `fine_tune` are kept" in choice.reason
    assert not choice.is_measured
    assert choice.cost.train_steps == 0
    expected = difflr.fine_tune_settings(model, epochs=1, steps_per_epoch=18)
    assert choice.learning_rate == expected.learning_rate
    assert "chosen" in str(choice)


# -- compilation, budget


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="nothing is compiled")
def test_a_profile_is_compiled_once():
    class Counted(keras.layers.Layer):
        traces = 0

        def call(self, inputs, training=None):
            Counted.traces += bool(training)
            return inputs

    keras.utils.set_random_seed(0)
    body = keras.layers.Dense(6, activation="relu", name="body", bias_initializer="ones")
    model = keras.Sequential([keras.Input((6,)), body, Counted(), keras.layers.Dense(3, name="head")])
    body.bias.assign(np.full(6, 0.1, "float32"))
    Counted.traces = 0
    plan = difflr.Plan(model)
    given = {"batch_size": 12, "validation_data": (X[:24], Y[:24])}
    before = state_of(model)
    choice = suggest(model, X, Y, plan=plan, **given, budget=3.5)
    assert_unchanged(before, model)
    first, rates = Counted.traces, len({tried.learning_rate for tried in choice.trials})
    assert rates == 3
    Counted.traces = 0
    assert suggest(model, X, Y, plan=plan, **given, budget=2.3).trials == choice.trials[:2]
    assert first == Counted.traces  # more trials, no more traces


@pytest.mark.same_everywhere
def test_the_budget():
    assert budget_in_steps(100, None) == 400
    assert budget_in_steps(1000, None) == 500
    assert budget_in_steps(4000, None) == 400
    assert budget_in_steps(100, 0.5) == 50
    for batches in (3, 10, 60, 200, 1000):
        found = layout_for((1, 9), batches, None, validated=False, held_out_batches=2)
        spent = (found.head_steps + found.steps + 2 / 3) * sum(found.rounds(9))
        assert spent <= budget_in_steps(10 * batches, None)
        assert len(found.rounds(9)) > 1
        assert min(found.rounds(9)) >= 2
        assert found.head_steps + found.steps >= min(30, 20)


@pytest.mark.same_everywhere
def test_without_a_stage_for_the_head(eager_steps):
    choice = suggest(network(), X, Y, batch_size=12, freeze_epochs=0)
    assert not choice.head_first
    assert choice.cost.run_steps == 6
    assert all(np.isfinite(tried.loss) for tried in choice.trials)
