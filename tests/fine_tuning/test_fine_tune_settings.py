"""What `fine_tune` chooses for a model, that it does so, and that it says so."""

import keras
import numpy as np
import pytest
from keras import layers

import difflr

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 6)).astype("float32"), (np.arange(16) % 3).astype("int32")


def settings(model, epochs=2, steps_per_epoch=4, **more):
    return difflr.fine_tune_settings(model, epochs=epochs, steps_per_epoch=steps_per_epoch, **more)


def tuned(model, x=X, **more):
    return difflr.fine_tune(model, x, Y, **{"epochs": 1, "loss": LOSS, "verbose": 0, **more})


def network(*body):
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((6,)), *body, layers.Dense(3, name="head")])


def normalized(pretrained=True):
    model = network(layers.Dense(5, name="low"), layers.BatchNormalization(name="norm"), layers.Dense(4, name="high"))
    if pretrained:
        model.get_layer("norm").moving_mean.assign(np.full(5, 0.5))
    return model


def values(layer):
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in layer.variables]


def is_unmoved(before, layer):
    return all(np.array_equal(a, b) for a, b in zip(before, values(layer), strict=True))


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("width", "rate"), [(8, 3e-2), (100, 2e-2), (500, 4e-3), (5000, 1e-3)])
def test_the_rate_falls_with_the_features_that_come_into_the_head(width, rate):
    found = settings(network(layers.Dense(width)))
    assert found.learning_rate == pytest.approx(rate)
    assert f"2 / {width} input features" in found.reasons["learning_rate"]


def test_a_head_of_several_layers_counts_where_it_begins():
    model = network(layers.Dense(100, name="body"), layers.Dense(4, name="top"))
    assert settings(model).learning_rate == pytest.approx(3e-2)
    assert settings(model, head=["top", "head"]).learning_rate == pytest.approx(2e-2)


@pytest.mark.same_everywhere
def test_a_convolution_as_head():
    x = inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(5, 1, name="head")(layers.Conv2D(200, 3, name="body")(x))
    assert settings(keras.Model(inputs, x)).learning_rate == pytest.approx(1e-2)


@pytest.mark.same_everywhere
@pytest.mark.parametrize(("depth", "ratio"), [(1, 4 / 3), (3, 64 / 27), (8, 65536 / 6561), (9, 10)])
def test_each_group_of_layers_has_three_quarters_of_the_rate_above_until_a_tenth(depth, ratio):
    model = network(*(layers.Dense(4, name=f"body{number}") for number in range(depth)))
    found = settings(model)
    assert found.rate_ratio == pytest.approx(ratio)
    assert f"{depth} group" in found.reasons["rate_ratio"]
    tuned(model)
    multipliers = model.optimizer.plan.multipliers
    assert multipliers[model.get_layer("body0").kernel] == pytest.approx(1 / ratio)
    assert multipliers[model.get_layer("head").kernel] == 1


@pytest.mark.parametrize(
    ("steps", "momentum", "expected"), [(299, 0.99, "frozen"), (300, 0.99, "trained"), (30, 0.9, "trained")]
)
def test_batch_normalization_is_frozen_if_its_statistics_could_not_follow(steps, momentum, expected):
    model = normalized()
    model.get_layer("norm").momentum = momentum
    assert settings(model, epochs=1, steps_per_epoch=steps).normalization == expected


@pytest.mark.same_everywhere
def test_frozen_batch_normalization_stays_as_it_was_pretrained():
    model = normalized()
    before = {name: values(model.get_layer(name)) for name in ("low", "norm", "high")}
    history = tuned(model)
    assert history.settings.normalization == "frozen"
    assert is_unmoved(before["norm"], model.get_layer("norm"))
    assert not is_unmoved(before["low"], model.get_layer("low"))
    tuned(model, normalization="trained")
    moved = [not np.array_equal(a, b) for a, b in zip(before["norm"], values(model.get_layer("norm")), strict=True)]
    assert moved == [True] * 4  # scale, offset and both statistics


@pytest.mark.same_everywhere
def test_new_batch_normalization_is_trained():
    model = normalized(pretrained=False)
    before = values(model.get_layer("norm"))
    assert tuned(model).settings.normalization == "trained"
    assert not is_unmoved(before, model.get_layer("norm"))


def test_batch_normalization_in_the_head_is_trained():
    model = normalized()
    assert settings(model, head=["norm", "high", "head"]).normalization == "trained"


@pytest.mark.same_everywhere
def test_frozen_batch_normalization_can_be_frozen_by_hand_as_well():
    model = normalized()
    model.get_layer("norm").trainable = False
    before = values(model.get_layer("norm"))
    tuned(model)
    assert is_unmoved(before, model.get_layer("norm"))


@pytest.mark.same_everywhere
def test_the_head_that_is_named_trains_alone_first():
    model = network(layers.Dense(5, name="low"), layers.Dense(4, name="high"))
    before = {name: values(model.get_layer(name)) for name in ("low", "high", "head")}
    after = {}
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: after.setdefault(
            epoch, [name for name in before if not is_unmoved(before[name], model.get_layer(name))]
        )
    )
    tuned(model, head="high", callbacks=[note])
    assert after == {0: ["high", "head"], 1: ["low", "high", "head"]}  # with what takes all its inputs from it
    multipliers = model.optimizer.plan.multipliers
    assert multipliers[model.get_layer("high").kernel] == multipliers[model.get_layer("head").kernel] == 1
    assert multipliers[model.get_layer("low").kernel] == pytest.approx(0.75)


@pytest.mark.same_everywhere
def test_what_was_chosen_is_printed_and_returned(capsys):
    history = tuned(normalized(), learning_rate=3e-3, verbose=2)
    printed = capsys.readouterr().out
    assert str(history.settings) in printed
    assert "  0.003  as asked" in printed
    assert "1 step is too few for moving statistics to follow: they need 300" in printed
    tuned(normalized())
    assert capsys.readouterr().out == ""


@pytest.mark.same_everywhere
def test_with_a_plan_the_plan_says():
    model = network(layers.Dense(4, name="body"))
    found = tuned(model, plan=difflr.Plan(model, {"body": 0.5})).settings
    assert (found.rate_ratio, found.normalization) == (None, None)
    assert str(found).count("  -  as the plan says") == 2


@pytest.mark.same_everywhere
@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"epochs": -1, "steps_per_epoch": 5}, "`epochs` must be a finite number >= 0"),
        ({"epochs": 1.5, "steps_per_epoch": 5}, "`epochs` counts epochs and must be an integer >= 0"),
        ({"epochs": 1, "steps_per_epoch": 0}, "`steps_per_epoch` counts optimizer steps"),
    ],
)
def test_numbers_out_of_range(numbers, message):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="head")])
    with pytest.raises(ValueError, match=message):
        difflr.fine_tune_settings(model, **numbers)


@pytest.mark.same_everywhere
def test_a_model_that_is_not_built():
    with pytest.raises(ValueError, match="is not built"):
        difflr.fine_tune_settings(keras.Sequential([keras.layers.Dense(2)]), epochs=1, steps_per_epoch=5)
